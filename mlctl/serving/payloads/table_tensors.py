"""Turn a table into the unnamed tensor of a model: a row of the tensor is a row of the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlctl.domain import missing_values
from mlctl.domain.numbers import parse_number
from mlctl.serving.payloads import table_files
from mlctl.serving.payloads.named_tensors import TensorRules
from mlctl.serving.payloads.request_error import bad_request
from mlctl.serving.payloads.signature import ModelSignature, TensorSpec
from mlctl.serving.payloads.tables import cells_from_json
from mlctl.serving.payloads.tensors import tensor_from_json

Array = np.ndarray[Any, Any]
_TRUTHS = {"true": True, "false": False}


def tensor_from_table(key: str, value: Any, spec: TensorSpec, rules: TensorRules) -> Array:
    """Return the tensor in `dataframe_split` or `dataframe_records`. Columns count in the order they are sent in.

    A single column may have the flat list of a row's values in each cell. Raises RequestError.
    """
    return _from_columns(cells_from_json(key, value), spec, rules, source=key)


def tensor_from_csv(body: bytes, spec: TensorSpec, rules: TensorRules) -> Array:
    """Return the tensor in a CSV file with a header. Raises RequestError."""
    header, rows = table_files.read_csv(body, ModelSignature(tensor=spec))
    table_files.check_lengths(header, rows)
    cells = [[_parse_cell(cell, spec) for cell in row] for row in rows]
    return tensor_from_json(
        cells if len(spec.shape) == 2 else [cell for row in cells for cell in row], spec, **_options(rules)
    )


def tensor_from_parquet(body: bytes, spec: TensorSpec, rules: TensorRules, *, max_bytes: int) -> Array:
    """Return the tensor in a Parquet file. Raises RequestError."""
    table = table_files.read_parquet(body, max_bytes=max_bytes, hint=f"the model takes {spec}")
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return _from_columns(columns, spec, rules, source="Parquet")


def _from_columns(
    columns: Mapping[str, Sequence[Any]], spec: TensorSpec, rules: TensorRules, *, source: str
) -> Array:
    cells = list(columns.values())
    if not cells or not len(cells[0]):
        raise bad_request("the table has no rows", f"the model takes {spec}")
    if len(cells) == 1 and isinstance(cells[0][0], list):
        row_size = math.prod(spec.shape[1:]) if min(spec.shape[1:], default=0) > 0 else 0
        if len(spec.shape) > 2 and row_size and not isinstance(cells[0][0][0], list):
            flat = tensor_from_json(list(cells[0]), replace(spec, shape=(-1, row_size)), **_options(rules))
            return flat.reshape(-1, *spec.shape[1:])
        return tensor_from_json(list(cells[0]), spec, **_options(rules))
    if len(spec.shape) == 1 and len(cells) == 1:
        return tensor_from_json(list(cells[0]), spec, **_options(rules))
    if len(spec.shape) != 2:
        raise bad_request(f"this model takes a tensor, not {source}", f"send inputs: {spec}")
    return tensor_from_json(list(map(list, zip(*cells, strict=True))), spec, **_options(rules))


def _options(rules: TensorRules) -> dict[str, bool]:
    return {"takes_gaps": rules.takes_gaps, "is_exact": rules.is_exact}


def _parse_cell(text: str, spec: TensorSpec) -> Any:
    if spec.dtype == "str":
        return text
    if text in missing_values.PANDAS_WORDS:
        return None
    if spec.dtype == "bool":
        return _TRUTHS.get(text.strip().lower(), text)
    number = parse_number(text)
    return text if number is None else number
