"""The benchmark's models in LitServe: `lit.py PORT`."""

import sys

import litserve
import models
from fastapi import Request


class Json(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.answer = models.load()

    def predict(self, request: dict) -> dict:
        return {"predictions": self.answer(request.get("inputs") or request["dataframe_split"])}


class Picture(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.answer = models.load()

    async def decode_request(self, request: Request) -> bytes:
        return await request.body()

    async def predict(self, content: bytes) -> dict:
        return {"predictions": self.answer(content)}


if __name__ == "__main__":
    if models.NAME == "pictures":
        api = Picture(api_path="/invocations", enable_async=True)
    else:
        api = Json(api_path="/invocations")
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="error")
