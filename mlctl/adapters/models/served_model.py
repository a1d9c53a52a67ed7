"""The model that is logged, if it is another one than the trained one: its inputs and what its outputs mean."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from mlctl.adapters.keras.answers import describe_answers
from mlctl.data.trees import Tree, leaves, map_tree
from mlctl.domain.outputs import Output, Outputs
from mlctl.errors import BadDataError

CHECKED_ROWS = 16  # made rows, for a model that takes other inputs than the recipe's

Array = np.ndarray[Any, Any]


def to_arrays(encoded: Tree) -> Tree:
    """Return encoded inputs as a tree of arrays: bags of words and images on disk are read."""
    return map_tree(lambda leaf: np.asarray(leaf.dense() if hasattr(leaf, "dense") else leaf), encoded)


def inputs_for(model: keras.Model, encoded: Tree) -> tuple[Tree, bool]:
    """Return inputs that a model takes, and whether they are all of the recipe's encoded inputs.

    If the model takes one part of them, as one tower of a pair does, it is that part. If it takes other inputs, as a
    decoder does, they are random numbers of its shapes.
    """
    if _takes(model, encoded):
        return encoded, True
    for part in leaves(encoded):
        if _takes(model, part):
            return part, False
    tensors = keras.tree.flatten(getattr(model, "inputs", None) or [])
    if not tensors:
        raise BadDataError(
            "serving() returns a model that does not take the recipe's inputs",
            "return a model with keras.Input layers, so that mlctl knows what it takes",
        )
    generator = np.random.default_rng(0)
    made = [_random(generator, tensor) for tensor in tensors]
    names = [tensor.name for tensor in tensors]
    return (made[0] if len(made) == 1 else dict(zip(names, made, strict=True))), False


def outputs_for(model: keras.Model, inputs: Tree, trained: Outputs) -> Outputs:
    """Return what the outputs of a serving model mean: as the trained model's if they have the same form."""
    answers = describe_answers(model, inputs)
    outputs = []
    for number, answer in enumerate(answers):
        same = [output for output in trained if output.name == answer.name]
        if len(answers) == len(trained) and not same:
            same = [trained[number]]
        output = same[0] if same and _fits(same[0], answer.units) else Output(kind="none")
        activation = output.activation if answer.activation in ("linear", "unknown") else ""
        outputs.append(dataclasses.replace(output, name=answer.name, activation=activation))
    return tuple(outputs)


def _fits(output: Output, units: int | None) -> bool:
    count = len(output.classes)
    if output.kind == "none":
        return True
    if output.kind == "values":
        return units is None or not count
    return units == count or (output.kind == "classes" and count == 2 and units == 1)


def _takes(model: keras.Model, inputs: Tree) -> bool:
    tensors = keras.tree.flatten(getattr(model, "inputs", None) or [])
    arrays = leaves(inputs)
    if tensors and len(tensors) != len(arrays):
        return False
    try:
        model(map_tree(lambda array: _tensor(array[:1]), inputs), training=False)
    except Exception:
        return False
    return True


def _tensor(array: Array) -> Any:
    return keras.ops.convert_to_tensor(array.astype(str) if array.dtype.kind == "O" else array)


def _random(generator: np.random.Generator, tensor: Any) -> Array:
    shape = (CHECKED_ROWS, *(length or CHECKED_ROWS for length in tensor.shape[1:]))
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if dtype == "string":
        return np.full(shape, "text", dtype=object)
    return generator.normal(size=shape).astype(dtype) if "float" in dtype else np.zeros(shape, dtype)
