"""Rows on which a converted model is compared with the model itself, made from the signature and the example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.serving.payloads.signature import ColumnSpec, ModelSignature, TensorSpec

MAX_LENGTH = 16  # of a row of any length, if there is no example

Array = np.ndarray[Any, Any]
Rows = Any  # columns or tensors by name, or a tensor


def generate_rows(
    signature: ModelSignature, example: Rows | None, count: int, texts: Mapping[str, Sequence[str]]
) -> Rows:
    """Return rows of the signature's types, in and around the ranges of the example.

    Args:
        signature: What the model takes.
        example: Checked rows; None if the model has no example.
        count: Number of rows.
        texts: Values of each column of texts.
    """
    generator = np.random.default_rng(0)
    if signature.columns:
        return {
            column.name: _column(column, (example or {}).get(column.name), count, texts, generator)
            for column in signature.columns
        }
    if signature.tensor is not None:
        return _tensor(signature.tensor, example, count, generator)
    return {
        spec.name: _tensor(spec, (example or {}).get(spec.name), count, generator)
        for spec in signature.tensors
    }


def take(rows: Rows, selected: Any) -> Rows:
    """Return these rows."""
    if isinstance(rows, Mapping):
        return {name: array[selected] for name, array in rows.items()}
    return rows[selected]


def with_gaps(columns: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
    """Return a copy of columns in which every third row lacks a value in the named ones, each in another row."""
    result = dict(columns)
    for position, name in enumerate(names):
        values = result[name]
        values = (
            values.astype(np.float64 if values.dtype.kind == "i" else object)
            if values.dtype.kind in "ib"
            else values.copy()
        )
        values[position % 3 :: 3] = None if values.dtype == object else np.nan
        result[name] = values
    return result


def _column(
    column: ColumnSpec,
    example: Any,
    count: int,
    texts: Mapping[str, Sequence[str]],
    generator: np.random.Generator,
) -> Array:
    if column.kind == "string":
        values = np.empty(count, object)
        own = [] if example is None else [cell for cell in example if isinstance(cell, str) and cell]
        known = texts.get(column.name) or own or ["a", "b"]  # texts may be dates, which "a" is not
        values[:] = [known[number % len(known)] for number in generator.permutation(count)]
        return values
    if column.kind == "boolean":
        return generator.random(count) < 0.5
    dtype = {"double": np.float64, "float": np.float32, "long": np.int64, "integer": np.int32}[column.kind]
    return _numbers(example, (count,), np.dtype(dtype), generator)


def _tensor(spec: TensorSpec, example: Any, count: int, generator: np.random.Generator) -> Array:
    free = iter(np.shape(example)[1:] if example is not None and example.dtype != object else ())
    lengths = []
    for length in spec.shape[1:]:
        found = next(free, MAX_LENGTH)
        lengths.append(length if length >= 0 else found)
    shape = (count, *lengths)
    if spec.dtype == "bool":
        return generator.random(shape) < 0.5
    if spec.dtype == "str":
        known = [str(text) for text in np.ravel(example)] if example is not None else ["a", "b"]
        return generator.choice(np.array(known, object), shape)
    return _numbers(example, shape, np.dtype(spec.dtype), generator)


def _numbers(example: Any, shape: tuple[int, ...], dtype: Any, generator: np.random.Generator) -> Array:
    """Return values of the example, values near them, and values from its range and beyond."""
    known = np.ravel(example).astype(np.float64) if example is not None else np.empty(0)
    known = known[np.isfinite(known)]
    if not len(known):
        numbers: Array = generator.normal(size=shape) * generator.choice([0.1, 1.0, 10.0], shape)
        numbers = np.abs(np.rint(numbers)).clip(0, 1) if dtype.kind in "iu" else numbers
        return numbers.astype(dtype)
    low, high = float(known.min()), float(known.max())
    if dtype.kind in "iu":  # such as numbers of words, of which a model knows no others
        inside = generator.uniform(low, high + 1, shape)
        whole: Array = np.minimum(np.floor(inside), high)
        return whole.astype(dtype)
    exact = generator.choice(known, shape)
    near = exact * np.exp(generator.normal(scale=0.3, size=shape))
    wide = generator.uniform(low - 0.5 * (high - low), high + 0.5 * (high - low), shape)
    if low >= 0:
        wide = np.abs(wide)
    kind = generator.integers(0, 3, shape)
    chosen: Array = np.choose(kind, [exact, near, wide])
    return chosen.astype(dtype)
