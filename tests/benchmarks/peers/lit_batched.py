"""An ONNX graph of images in LitServe with batches: `lit_batched.py PORT`. BENCH_ONNX names the graph."""

import os
import sys

import litserve
import numpy as np
import onnxruntime


class Batched(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_ONNX"])
        self.name = self.session.get_inputs()[0].name

    def decode_request(self, request: dict) -> np.ndarray:
        return np.array(request["inputs"][0], dtype="float32") / 255

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.name: images})[0]

    def encode_response(self, answer: np.ndarray) -> dict:
        return {"predictions": [answer.tolist()]}


if __name__ == "__main__":
    api = Batched(api_path="/invocations", max_batch_size=32, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="error")
