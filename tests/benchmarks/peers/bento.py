"""The benchmark's models in BentoML."""

import io

import bentoml
import models
from PIL.Image import Image


@bentoml.service(workers=1)
class Tensor:
    def __init__(self) -> None:
        self.answer = models.load()

    @bentoml.api(route="/invocations")
    def predict(self, inputs: list) -> dict:
        return {"predictions": self.answer(inputs)}


@bentoml.service(workers=1)
class Table:
    def __init__(self) -> None:
        self.answer = models.load()

    @bentoml.api(route="/invocations")
    def predict(self, dataframe_split: dict) -> dict:
        return {"predictions": self.answer(dataframe_split)}


@bentoml.service(workers=1)
class Picture:
    def __init__(self) -> None:
        self.answer = models.load()

    @bentoml.api(route="/invocations")
    def predict(self, image: Image, /) -> dict:
        content = io.BytesIO()  # BentoML has decoded it; the model's function takes bytes
        image.save(content, "PPM")
        return {"predictions": self.answer(content.getvalue())}
