"""A model's signature, as far as the server needs it to tell a client what is wrong with a request."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

NUMBERS = ("double", "float", "long", "integer")
SIMPLE_TYPES = (*NUMBERS, "string", "boolean")
TENSOR_TYPES = re.compile(r"str|bool|u?int(8|16|32|64)|float(16|32|64)")


@dataclass(frozen=True)
class TensorSpec:
    """One dense tensor: NumPy's name of its type, its shape, with -1 for any length, and its name, if it has one."""

    dtype: str
    shape: tuple[int, ...]
    name: str = ""

    def __str__(self) -> str:
        lengths = ["n" if length < 0 else str(length) for length in self.shape]
        return f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''}) of {self.dtype}"

    @property
    def takes_any_length(self) -> bool:
        """Whether rows are lists of any length."""
        return len(self.shape) > 1 and self.shape[1] < 0

    @property
    def is_scalar(self) -> bool:
        """Whether a row is one value, or a list of one."""
        return self.shape[1:] in ((), (1,))


@dataclass(frozen=True)
class ColumnSpec:
    """A table's column and MLflow's name of its type. An optional column may be absent.

    A model of another program may have whole numbers as names of columns (`is_numbered`), which are texts here.
    """

    name: str
    kind: str
    required: bool
    is_numbered: bool = False

    @property
    def label(self) -> str | int:
        """The name as the model knows it."""
        return int(self.name) if self.is_numbered else self.name


@dataclass(frozen=True)
class ModelSignature:
    """What a model takes and answers.

    Attributes:
        tensor: The unnamed tensor that the model takes.
        tensors: The named tensors that it takes instead.
        columns: The columns of the table that it takes instead.
        params: Whether requests may have params.
        simple_columns: Columns of simple types beside columns of other types, of a table that only MLflow can read.
        outputs: The tensors that the model answers: one unnamed tensor, or named ones; () if they are not known.
    """

    tensor: TensorSpec | None = None
    columns: tuple[ColumnSpec, ...] = ()
    params: bool = False
    tensors: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    simple_columns: tuple[ColumnSpec, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the table's columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def is_numbered(self) -> bool:
        """Whether the columns are numbered from 0, as pandas numbers those of an array."""
        numbers = [column.label for column in self.columns]
        return bool(numbers) and numbers == list(range(len(numbers)))

    @property
    def all_tensors(self) -> tuple[TensorSpec, ...]:
        """The unnamed tensor or the named ones; () for a table."""
        return self.tensors if self.tensor is None else (self.tensor,)

    @property
    def as_table(self) -> ModelSignature | None:
        """The named tensors as columns of a table, if each row of a tensor is one value, else None."""
        if not self.tensors or not all(spec.is_scalar for spec in self.tensors):
            return None
        if any(spec.dtype == "uint64" for spec in self.tensors):  # a column holds at most 2^63 - 1
            return None
        columns = tuple(ColumnSpec(spec.name, _column_kind(spec), required=True) for spec in self.tensors)
        return ModelSignature(columns=columns, params=self.params)

    @property
    def is_known(self) -> bool:
        """Whether mlctl can read requests for this model; MLflow's own application reads all others."""
        return self.tensor is not None or bool(self.tensors) or bool(self.columns)


def read_signature(entry: Any) -> ModelSignature:
    """Return the signature in the `signature` entry of an MLmodel file, which holds JSON inside YAML."""
    entry = entry or {}
    params = bool(json.loads(entry.get("params") or "null"))
    inputs: Sequence[dict[str, Any]] = json.loads(entry.get("inputs") or "null") or []
    outputs = _read_tensors(json.loads(entry.get("outputs") or "null") or [])
    tensors = _read_tensors(inputs)
    if tensors and all(_is_readable(spec) for spec in tensors):
        if not tensors[0].name:
            return ModelSignature(tensor=tensors[0], params=params, outputs=outputs)
        return ModelSignature(tensors=tensors, params=params, outputs=outputs)
    columns = tuple(
        ColumnSpec(
            str(column["name"]),
            column["type"],
            column.get("required", True),
            is_numbered=isinstance(column["name"], int),
        )
        for column in inputs
        if column.get("type") in SIMPLE_TYPES and "name" in column
    )
    if inputs and len(columns) == len(inputs):
        return ModelSignature(columns=columns, params=params, outputs=outputs)
    return ModelSignature(params=params, outputs=outputs, simple_columns=columns)


def _read_tensors(entries: Sequence[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    """Return the tensors of a schema; () if it has anything else, or several tensors without names."""
    if not all(entry.get("type") == "tensor" for entry in entries):
        return ()
    specs = tuple(
        TensorSpec(entry["tensor-spec"]["dtype"], tuple(entry["tensor-spec"]["shape"]), entry.get("name", ""))
        for entry in entries
    )
    return specs if len(specs) == 1 or all(spec.name for spec in specs) else ()


def _column_kind(spec: TensorSpec) -> str:
    if spec.dtype in ("str", "bool"):
        return {"str": "string", "bool": "boolean"}[spec.dtype]
    return "long" if "int" in spec.dtype else "double"


def _is_readable(spec: TensorSpec) -> bool:
    return bool(spec.shape) and TENSOR_TYPES.fullmatch(spec.dtype) is not None
