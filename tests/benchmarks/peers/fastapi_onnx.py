"""FastAPI with ONNX Runtime, as its users write it."""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

session = onnxruntime.InferenceSession(os.environ["BENCH_ONNX"])
name = session.get_inputs()[0].name
app = FastAPI()


class Images(BaseModel):
    inputs: list[list[list[int]]]


@app.post("/invocations")
def predict(images: Images) -> dict:
    x = np.array(images.inputs, dtype="float32")[..., np.newaxis] / 255
    return {"predictions": session.run(None, {name: x})[0].tolist()}
