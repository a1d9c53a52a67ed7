"""The MLflow signature and the input example of a model: unnamed or named tensors, or a table's columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

Array = np.ndarray[Any, Any]
Shapes = Any  # of one tensor, (None, …), or by name


def make_signature(
    raw: Any,
    predictions: Any,
    optional_columns: Collection[str] = (),
    *,
    input_names: Sequence[str] = (),
    input_shapes: Shapes = None,
    output_shapes: Shapes = None,
    whole_columns: Collection[str] = (),
) -> ModelSignature:
    """Return the signature of raw client input and of a model's predictions.

    Args:
        raw: Client inputs: an array, a DataFrame, or a dict or tuple of arrays. Rows of different lengths are an
            object array of lists or arrays.
        predictions: An array, or a dict of arrays by output name.
        optional_columns: Columns that a request may leave out or have gaps in.
        input_names: Names of the model's inputs, for a tuple of arrays.
        input_shapes: Shapes of the model's inputs, (None, 28, 28), if the model takes raw input as it is: None there
            means that a client may send any length. One shape, or a dict of shapes by input name.
        output_shapes: The same of the predictions.
        whole_columns: Columns of a DataFrame that the model takes as whole numbers only.
    """
    outputs = _tensor_schema(predictions, output_shapes)
    if not isinstance(raw, pd.DataFrame):
        return ModelSignature(_tensor_schema(client_input(raw, input_names), input_shapes), outputs)
    columns = [
        ColSpec(
            "long" if name in whole_columns else _column_type(raw[name]),
            str(name),
            required=name not in optional_columns,
        )
        for name in raw
    ]
    return ModelSignature(Schema(columns), outputs)


def client_input(raw: Any, input_names: Sequence[str] = ()) -> Any:
    """Return raw input as clients send it: a DataFrame, an array, or a dict of arrays, with texts of dtype str."""
    if isinstance(raw, pd.DataFrame):
        return raw
    if isinstance(raw, tuple):
        names = input_names or [f"input_{number}" for number in range(1, len(raw) + 1)]
        raw = dict(zip(names, raw, strict=True))
    if isinstance(raw, Mapping):
        return {str(name): _with_text_type(np.asarray(part)) for name, part in raw.items()}
    return _with_text_type(np.asarray(raw))


def first_row(raw: Any, input_names: Sequence[str] = ()) -> Any:
    """Return the first row of raw input as an input example that MLflow can store."""
    if isinstance(raw, pd.DataFrame):
        return raw.iloc[:1]
    rows = client_input(raw, input_names)
    if isinstance(rows, Mapping):
        return {name: _first_of(array) for name, array in rows.items()}
    return _first_of(rows)


def _first_of(array: Array) -> Array:
    return _with_text_type(np.asarray(array[0])[np.newaxis]) if _is_ragged(array) else array[:1]


def _with_text_type(array: Array) -> Array:
    """Return an object array of texts as an array of dtype str; other arrays as they are."""
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype != object or _is_ragged(array):
        return array
    if all(isinstance(cell, (str, bytes)) for cell in array.flat):
        texts = [cell.decode("utf-8") if isinstance(cell, bytes) else cell for cell in array.flat]
        return np.array(texts, dtype=str).reshape(array.shape)
    return np.array(array.tolist())


def _is_ragged(array: Array) -> bool:
    """Whether an array holds rows of any length: lists or arrays."""
    return array.dtype == object and array.size > 0 and isinstance(array.flat[0], (list, tuple, np.ndarray))


def _tensor_schema(arrays: Any, shapes: Shapes) -> Schema:
    if not isinstance(arrays, Mapping):
        return Schema([_tensor_spec(np.asarray(arrays), shapes)])
    named = shapes if isinstance(shapes, Mapping) else {}
    return Schema([_tensor_spec(np.asarray(array), named.get(name), name) for name, array in arrays.items()])


def _tensor_spec(array: Array, shape: Sequence[int | None] | None, name: str | None = None) -> TensorSpec:
    if _is_ragged(array):
        row = _with_text_type(np.asarray(array.flat[0]))
        lengths: tuple[int, ...] = (-1, *row.shape[1:])
        dtype = row.dtype
    else:
        lengths, dtype = array.shape[1:], array.dtype
    if shape is not None and len(shape) == len(lengths) + 1:
        lengths = tuple(
            -1 if open_ is None else length for open_, length in zip(shape[1:], lengths, strict=True)
        )
    is_text = dtype.kind in "USO"
    return TensorSpec(np.dtype(str) if is_text else dtype, (-1, *lengths), name)


def _column_type(values: pd.Series[Any]) -> str:
    if pd.api.types.infer_dtype(values, skipna=True) == "boolean":
        return "boolean"
    return "double" if values.dtype.kind in "iuf" else "string"
