"""LitServe with ONNX Runtime."""

import os
import sys

import litserve
import numpy as np
import onnxruntime


class Mnist(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_ONNX"])
        self.name = self.session.get_inputs()[0].name

    def predict(self, request: dict) -> dict:
        x = np.array(request["inputs"], dtype="float32")[..., np.newaxis] / 255
        return {"predictions": self.session.run(None, {self.name: x})[0].tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Mnist(api_path="/invocations"), accelerator="cpu")
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="error")
