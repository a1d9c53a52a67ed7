"""The benchmark's models in LitServe: `lit.py PORT`. It takes JSON only, so that a picture comes in base64."""

import base64
import sys

import litserve
import models


class Json(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.answer = models.load()

    def predict(self, request: dict) -> dict:
        if "image" in request:
            return {"predictions": self.answer(base64.b64decode(request["image"]))}
        return {"predictions": self.answer(request.get("inputs") or request["dataframe_split"])}


if __name__ == "__main__":
    server = litserve.LitServer(Json(api_path="/invocations"), accelerator="cpu")
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="error")
