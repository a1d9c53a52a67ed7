"""The check of the simple columns of a table that only MLflow can read, because others hold dates, lists or bytes.

MLflow reads all columns afterwards. Without this check, numbers outside their type would become others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlctl.serving.payloads.cells import check_cells
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.signature import ModelSignature
from mlctl.serving.payloads.table_files import columns_from_csv, read_csv
from mlctl.serving.payloads.tables import split_columns

_KEYS = ("inputs", "instances", "dataframe_split", "dataframe_records")


def check_simple_columns(document: Mapping[str, Any], signature: ModelSignature, *, is_exact: bool) -> None:
    """Raise RequestError for the first value of a simple column that does not fit; MLflow checks all else.

    Raises InexactNumber as `check_cells` does.
    """
    for key in _KEYS if signature.simple_columns else ():
        if key in document:
            for column in signature.simple_columns:
                if cells := _cells(key, document[key], column.name):
                    check_cells(cells, column, is_exact=is_exact)


def check_simple_csv(body: bytes, signature: ModelSignature) -> None:
    """Raise RequestError for the first value of a CSV's simple columns that does not fit."""
    if not signature.simple_columns:
        return
    header, _ = read_csv(body, signature)
    columns = tuple(column for column in signature.simple_columns if column.name in header)
    if columns:
        columns_from_csv(body, ModelSignature(columns=columns), by_mlctl=False)


def _cells(key: str, value: Any, name: str) -> Any:
    """Return a column's cells; None if there are none, or if this is no table."""
    if key == "dataframe_split":
        try:
            return split_columns(value, known=()).get(name)
        except RequestError:
            return None
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return [row.get(name) for row in value]
    cells = value.get(name) if isinstance(value, dict) else None
    return cells if isinstance(cells, list) or cells is None else [cells]
