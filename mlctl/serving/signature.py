"""A model's signature, as far as a server must know it to tell a client what it got wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NUMBERS = ("double", "float", "long", "integer")
SIMPLE = (*NUMBERS, "string", "boolean")


@dataclass(frozen=True)
class Tensor:
    """One unnamed dense tensor: NumPy's name of its type, and its shape with -1 where any length will do."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        lengths = ["n" if length < 0 else str(length) for length in self.shape]
        return f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''}) of {self.dtype}"


@dataclass(frozen=True)
class Column:
    """A table's column: MLflow's name of its type; one that is not required may hold gaps, or be absent."""

    name: str
    kind: str
    required: bool


@dataclass(frozen=True)
class Signature:
    """What a model takes: a tensor, a table's columns, or neither (MLflow's own application decides then)."""

    tensor: Tensor | None = None
    columns: tuple[Column, ...] = ()
    params: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of a table's columns."""
        return tuple(column.name for column in self.columns)


def read_signature(saved: Any) -> Signature:
    """Return the signature of an MLmodel file's `signature` entry, which holds JSON in YAML."""
    saved = saved or {}
    params = bool(json.loads(saved.get("params") or "null"))
    inputs: Sequence[dict[str, Any]] = json.loads(saved.get("inputs") or "null") or []
    if len(inputs) == 1 and inputs[0].get("type") == "tensor" and "name" not in inputs[0]:
        spec = inputs[0]["tensor-spec"]
        if spec["dtype"] not in {"str", "object", "bytes"} and len(spec["shape"]) > 1:
            return Signature(tensor=Tensor(spec["dtype"], tuple(spec["shape"])), params=params)
    if inputs and all(one.get("type") in SIMPLE and "name" in one for one in inputs):
        columns = tuple(Column(one["name"], one["type"], one.get("required", True)) for one in inputs)
        return Signature(columns=columns, params=params)
    return Signature(params=params)
