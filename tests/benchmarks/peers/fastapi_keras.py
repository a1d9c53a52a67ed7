"""FastAPI with model.predict, as its users write it."""

import os

import keras
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

model = keras.models.load_model(os.environ["BENCH_KERAS"])
app = FastAPI()


class Images(BaseModel):
    inputs: list[list[list[int]]]


@app.post("/invocations")
def predict(images: Images) -> dict:
    x = np.array(images.inputs, dtype="float32")[..., np.newaxis] / 255
    return {"predictions": model.predict(x, verbose=0).tolist()}
