"""Bring what a recipe's `load` returned into one form: splits of trees of arrays, or of batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlctl.data.dataset import Dataset, Split, needs_dense
from mlctl.data.streams import Stream
from mlctl.data.trees import as_tree, map_tree
from mlctl.domain.outputs import Output


def normalize_dataset(data: Dataset) -> Dataset:
    """Return the dataset with a `Split` for each split, and with tuples of classes and outputs."""
    outputs: Any = data.outputs
    if isinstance(outputs, Output):
        outputs = (outputs,)
    return dataclasses.replace(
        data,
        train=normalize_split(data.train),
        validation=normalize_split(data.validation),
        test=normalize_split(data.test),
        classes=tuple(str(name) for name in data.classes),
        outputs=tuple(outputs) if outputs is not None else None,
    )


def normalize_split(value: Any) -> Any:
    """Return a split as a `Split` of trees, or of a `Stream`; None and what is no split are returned as they are.

    A split may be a `Split`, a tuple (inputs, targets) or (inputs, targets, weights), or batches.
    """
    if value is None:
        return None
    if isinstance(value, tuple) and 2 <= len(value) <= 3:
        value = Split(*value)
    if isinstance(value, Split):
        if isinstance(value.inputs, Stream):
            return value
        if _is_stream(value.inputs) and value.targets is None:
            return Split(Stream(value.inputs))
        rows = None if value.targets is None else _length(value.targets)
        return Split(_to_tree(value.inputs, rows), *(_to_arrays(part) for part in value.parts[1:]))
    if isinstance(value, Stream) or _is_stream(value):
        return Split(value if isinstance(value, Stream) else Stream(value))
    return value


def _is_stream(value: Any) -> bool:
    is_data = isinstance(value, (np.ndarray, Mapping, tuple)) or hasattr(value, "iloc") or needs_dense(value)
    return not is_data and value is not None and Stream.is_stream(value)


def _to_tree(value: Any, rows: int | None = None) -> Any:
    """Return inputs as a tree; a list of `rows` arrays of other lengths is a list of rows, not of inputs."""
    if isinstance(value, list) and rows == len(value) and all(map(_has_shape, value)):
        value = _stack(value) if any(len(row) != rows for row in value) else value
    return map_tree(_to_array, as_tree(value))


def _to_arrays(value: Any) -> Any:
    """Return targets or weights as a tree of arrays: a table becomes an array of its columns."""
    return map_tree(
        lambda leaf: leaf.to_numpy() if hasattr(leaf, "iloc") else leaf, _to_tree(value, _length(value))
    )


def _to_array(leaf: Any) -> Any:
    """Return a column of a table, or texts of NumPy's own type, as an array."""
    if hasattr(leaf, "iloc") and getattr(leaf, "ndim", 0) == 1:
        leaf = leaf.to_numpy()
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "US":
        return leaf.astype(str).astype(object)
    return leaf


def _stack(rows: list[Any]) -> Any:
    """Return rows as one array, or as an array of objects if their shapes differ."""
    if len({row.shape for row in rows}) == 1:
        return np.stack([np.asarray(row) for row in rows])
    stacked = np.empty(len(rows), object)
    for number, row in enumerate(rows):
        stacked[number] = np.asarray(row)
    return stacked


def _has_shape(value: Any) -> bool:
    return bool(getattr(value, "shape", ()))


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except TypeError:
        return None
