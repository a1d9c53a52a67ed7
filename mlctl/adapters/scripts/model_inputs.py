"""Inputs in the form that a Keras model takes: of a script's data, or made up from what the model declares."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from mlctl.adapters.scripts.fit_data import SAMPLE_ROWS, to_tree
from mlctl.data.trees import Tree, map_tree
from mlctl.errors import BadDataError

MADE_UP_ROWS = 16


def as_model_inputs(model: Any, inputs: Tree) -> Tree:
    """Return inputs with the dimensions that the model declares: Keras takes numbers (n,) for rows (n, 1).

    A dict that has more entries than the model has inputs loses these, as in `fit`.
    """
    tensors = keras.tree.flatten(getattr(model, "inputs", None) or [])
    if isinstance(inputs, dict) and tensors:
        names = [tensor.name for tensor in tensors]
        if len(inputs) > len(names) and all(name in inputs for name in names):
            inputs = {name: inputs[name] for name in names}
    ranks = {len(tensor.shape) for tensor in tensors}
    if ranks == {2}:
        return map_tree(_as_column, inputs)
    return inputs


def made_up_inputs(model: Any) -> Tree:
    """Return random rows of the shapes that a model declares; raises BadDataError if it declares none."""
    tensors = keras.tree.flatten(getattr(model, "inputs", None) or [])
    if not tensors:
        raise BadDataError(
            "it is not known what the model takes",
            "give the rows to mlctl.keras.RunRecorder.model(model, inputs) or mlctl.keras.log(model, inputs)",
        )
    made = [_random(np.random.default_rng(0), tensor) for tensor in tensors]
    if len(made) == 1:
        return made[0]
    return {tensor.name: array for tensor, array in zip(tensors, made, strict=True)}


def rows_of(values: Any) -> Tree:
    """Return copies of the first rows of inputs or targets that a script gives for a check."""
    return map_tree(
        lambda leaf: (
            leaf.iloc[:SAMPLE_ROWS].copy() if hasattr(leaf, "iloc") else np.array(leaf[:SAMPLE_ROWS])
        ),
        to_tree(values, as_columns=True),
    )


def _as_column(leaf: Any) -> Any:
    return leaf[:, None] if isinstance(leaf, np.ndarray) and leaf.ndim == 1 else leaf


def _random(generator: np.random.Generator, tensor: Any) -> np.ndarray[Any, Any]:
    shape = (MADE_UP_ROWS, *(length or MADE_UP_ROWS for length in tensor.shape[1:]))
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if dtype == "string":
        return np.full(shape, "text", dtype=object)
    if "float" in dtype:
        return generator.normal(size=shape).astype(dtype)
    return np.zeros(shape, dtype)
