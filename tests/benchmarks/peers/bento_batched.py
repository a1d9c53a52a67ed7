"""An ONNX graph of images in BentoML with batches. BENCH_ONNX names the graph."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, traffic={"max_concurrency": 64})
class Batched:
    def __init__(self) -> None:
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_ONNX"])
        self.name = self.session.get_inputs()[0].name

    @bentoml.api(route="/invocations", batchable=True, batch_dim=0, max_batch_size=32, max_latency_ms=1000)
    def predict(self, inputs: np.ndarray) -> np.ndarray:
        images = np.asarray(inputs, dtype="float32") / 255
        return self.session.run(None, {self.name: images})[0]
