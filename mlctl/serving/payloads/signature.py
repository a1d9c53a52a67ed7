"""A model's signature, as far as the server needs it to tell a client what is wrong with a request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NUMBERS = ("double", "float", "long", "integer")
SIMPLE_TYPES = (*NUMBERS, "string", "boolean")


@dataclass(frozen=True)
class TensorSpec:
    """One unnamed dense tensor: NumPy's name of its type, and its shape, with -1 for any length."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        lengths = ["n" if length < 0 else str(length) for length in self.shape]
        return f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''}) of {self.dtype}"


@dataclass(frozen=True)
class ColumnSpec:
    """A table's column and MLflow's name of its type. An optional column may have gaps, or be absent."""

    name: str
    kind: str
    required: bool


@dataclass(frozen=True)
class ModelSignature:
    """What a model takes: a tensor, a table, or neither, if only MLflow's own application can read it."""

    tensor: TensorSpec | None = None
    columns: tuple[ColumnSpec, ...] = ()
    params: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the table's columns."""
        return tuple(column.name for column in self.columns)


def read_signature(entry: Any) -> ModelSignature:
    """Return the signature in the `signature` entry of an MLmodel file, which holds JSON inside YAML."""
    entry = entry or {}
    params = bool(json.loads(entry.get("params") or "null"))
    inputs: Sequence[dict[str, Any]] = json.loads(entry.get("inputs") or "null") or []
    if len(inputs) == 1 and inputs[0].get("type") == "tensor" and "name" not in inputs[0]:
        spec = inputs[0]["tensor-spec"]
        if spec["dtype"] not in {"str", "object", "bytes"} and len(spec["shape"]) > 1:
            return ModelSignature(tensor=TensorSpec(spec["dtype"], tuple(spec["shape"])), params=params)
    if inputs and all(column.get("type") in SIMPLE_TYPES and "name" in column for column in inputs):
        columns = tuple(
            ColumnSpec(column["name"], column["type"], column.get("required", True)) for column in inputs
        )
        return ModelSignature(columns=columns, params=params)
    return ModelSignature(params=params)
