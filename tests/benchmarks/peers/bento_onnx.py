"""BentoML with ONNX Runtime."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Mnist:
    def __init__(self) -> None:
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_ONNX"])
        self.name = self.session.get_inputs()[0].name

    @bentoml.api(route="/invocations")
    def predict(self, inputs: list) -> dict:
        x = np.array(inputs, dtype="float32")[..., np.newaxis] / 255
        return {"predictions": self.session.run(None, {self.name: x})[0].tolist()}
