"""FastAPI with model.predict, as its users write it."""

import os

import keras
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

model = keras.models.load_model(os.environ["BENCH_KERAS"])
app = FastAPI()


class ImageFiles(BaseModel):
    inputs: list[list[list[int]]]


@app.post("/invocations")
def predict(pictures: ImageFiles) -> dict:
    x = np.array(pictures.inputs, dtype="float32")[..., np.newaxis] / 255
    return {"predictions": model.predict(x, verbose=0).tolist()}
