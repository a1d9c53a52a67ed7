"""Turn a table in any of MLflow's JSON payloads into checked columns, or say which column, row or cell is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlctl.domain.column_reading import BOOLEAN, ColumnReading
from mlctl.domain.short_texts import list_some
from mlctl.serving.payloads.cells import NO_GAPS_IN_TRAINING, Cells, check_cells, gaps
from mlctl.serving.payloads.request_error import bad_request, quote
from mlctl.serving.payloads.signature import SIMPLE_TYPES, ColumnSpec, ModelSignature

Array = np.ndarray[Any, Any]
Columns = dict[str, Array]
_GAP = float("nan")
_TRUTHS = {True: "true", False: "false"}  # for a column of words such as ja and nein


@dataclass(frozen=True, kw_only=True)
class TableRules:
    """What a table may have besides the values of its signature.

    Attributes:
        extra: Columns that the model does not take; they are dropped.
        gaps: Types whose required columns may have gaps. Optional columns may always have them.
        gap_hint: What to say of a gap that is refused.
        fills_absent: A missing optional column becomes a column of gaps; otherwise it is left out.
        is_exact: Large whole numbers have all their digits; `check_cells` says what happens if not.
        readings: How training read the cells of each column; {} for a model that was not trained on a user's table.
    """

    extra: bool = True
    gaps: frozenset[str] = frozenset(SIMPLE_TYPES)
    gap_hint: str = NO_GAPS_IN_TRAINING
    fills_absent: bool = True
    is_exact: bool = True
    readings: Mapping[str, ColumnReading] = field(default_factory=dict)


LENIENT = TableRules()


def columns_from_json(
    key: str, value: Any, signature: ModelSignature, rules: TableRules = LENIENT
) -> Columns:
    """Return the checked columns of a JSON payload's value under `key`.

    Raises RequestError, and InexactNumber as `check_cells` does.
    """
    columns: Mapping[str, Cells]
    if key == "dataframe_split":
        columns = split_columns(value, known=signature.names)
    elif key == "dataframe_records" or _are_records(value):
        columns = _from_records(value, signature, rules)
    elif isinstance(value, dict):
        columns = {name: cells if isinstance(cells, list) else [cells] for name, cells in value.items()}
    elif isinstance(value, list) and value and len(signature.columns) == 1 and not isinstance(value[0], list):
        columns = {signature.names[0]: value}  # with one column, its values alone are unambiguous
    elif isinstance(value, list) and value and signature.is_numbered:
        columns = split_columns({"data": value})
    elif value == []:
        raise bad_request("the table has no rows", columns_hint(signature))
    else:
        raise bad_request(
            f"{key} is not a table", f"send a list of rows, each with the columns {join(signature.names)}"
        )
    return check_columns(columns, signature, rules=rules)


def check_columns(
    columns: Mapping[str, Cells],
    signature: ModelSignature,
    first_row: int = 0,
    rules: TableRules = LENIENT,
) -> Columns:
    """Return the columns in the signature's order, as arrays of its types; see `check_cells`.

    Raises RequestError if a column or value does not fit; its message counts rows from `first_row`.
    """
    check_names(list(columns), signature, rules)
    wanted = {column.name: column for column in signature.columns if column.name in columns}
    if columns and not wanted:
        raise bad_request("the table has none of the model's columns", columns_hint(signature))
    lengths = {name: len(columns[name]) for name in wanted}
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise bad_request(
            f"column {quote(shortest)} has {lengths[shortest]} values, {quote(longest)} has {lengths[longest]}",
            "every column must have one value per row",
        )
    rows = next(iter(lengths.values()), 0)
    if not rows:
        raise bad_request("the table has no rows", columns_hint(signature))
    checked = {
        name: _check_column(columns[name], column, rules, first_row) for name, column in wanted.items()
    }
    if rules.fills_absent and len(checked) < len(signature.columns):
        absent = (column for column in signature.columns if column.name not in checked)
        checked |= {column.name: gaps(rows, column.kind) for column in absent}
        return {name: checked[name] for name in signature.names}
    return checked


def _check_column(cells: Cells, column: ColumnSpec, rules: TableRules, first_row: int) -> Array:
    reading = rules.readings.get(column.name)
    if reading is not None and reading.changes_json:
        values = cells.tolist() if isinstance(cells, np.ndarray) else cells
        cells = [reading.read_json(cell) for cell in values]
    if reading is not None and reading.kind == BOOLEAN and column.kind == "string":
        values = cells.tolist() if isinstance(cells, np.ndarray) else cells
        cells = [_TRUTHS[cell] if isinstance(cell, bool) else cell for cell in values]
    return check_cells(
        cells,
        column,
        takes_gaps=not column.required or column.kind in rules.gaps,
        gap_hint=rules.gap_hint,
        is_exact=rules.is_exact,
        first_row=first_row,
    )


def cells_from_json(key: str, value: Any) -> dict[str, list[Any]]:
    """Return the columns of `dataframe_split` or `dataframe_records` with their cells as they are."""
    if key == "dataframe_split":
        return {name: list(cells) for name, cells in split_columns(value).items()}
    if not _are_records(value) or not all(isinstance(row, dict) for row in value):
        raise bad_request(f"{key} is not a list of rows", "each row is a dictionary of values by name")
    for number, row in enumerate(value):
        if row.keys() != value[0].keys():
            raise bad_request(f"row {number} has other names than row 0", f"row 0 has {join(list(value[0]))}")
    return {name: [row[name] for row in value] for name in value[0]}


def split_columns(value: Any, known: Collection[str] | None = None) -> dict[str, Sequence[Any]]:
    """Return the columns of `dataframe_split`, in their order; without names they are counted from 0.

    Only `known` names must not be repeated; None: no name.
    """
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise bad_request("dataframe_split must have columns and data", '{"columns": […], "data": [[…], …]}')
    if unknown := set(value) - {"columns", "data", "index"}:
        raise bad_request(
            f"unknown keys in dataframe_split: {join(sorted(unknown))}",
            "it may have columns, data and index",
        )
    rows = value["data"]
    names = value.get("columns")
    if (names is None or (names and len(names) == 1)) and not any(isinstance(row, list) for row in rows):
        rows = [[cell] for cell in rows]  # a single column may be a flat list
    if names is None:
        names = range(len(rows[0]) if rows and isinstance(rows[0], list) else 0)
    elif not isinstance(names, list) or not all(type(name) in (str, int) for name in names):
        raise bad_request("the columns of dataframe_split must be a list of names")
    width = len(names)
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != width:
            actual = f"has {len(row)} values" if isinstance(row, list) else f"is {quote(row)}"
            raise bad_request(f"row {number} {actual}, but there are {width} column names")
    labels = list(map(str, names))
    if len(set(labels)) != width:
        repeated = [name for name in labels if labels.count(name) > 1 and (known is None or name in known)]
        if repeated:
            raise bad_request(f"dataframe_split names the column {quote(repeated[0])} twice")
    return dict(zip(labels, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(labels, ())


def check_names(names: Sequence[str], signature: ModelSignature, rules: TableRules) -> None:
    """Raise RequestError if a required column is missing, a column is repeated, or an unknown one is not allowed."""
    present, known = set(names), set(signature.names)
    missing = [column.name for column in signature.columns if column.required and column.name not in present]
    unknown = [name for name in names if name not in known] if missing or not rules.extra else []
    repeated = [name for name in known if names.count(name) > 1] if len(present) < len(names) else []
    problems = []
    if missing:
        problems.append(f"missing columns: {join(missing)}")
    if unknown:
        problems.append(f"unknown columns: {join([name[:40] for name in unknown])}")
    if repeated:
        problems.append(f"repeated columns: {join(repeated)}")
    if problems:
        raise bad_request("; ".join(problems), columns_hint(signature))


def columns_hint(signature: ModelSignature) -> str:
    """Return the hint that names the model's columns."""
    return f"the model takes the columns {join(signature.names)}"


def join(names: Sequence[str]) -> str:
    """Return at most twelve names as a text."""
    return list_some(names, 12)


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _from_records(rows: Any, signature: ModelSignature, rules: TableRules) -> dict[str, list[Any]]:
    """Return the columns of a list of rows; a value that a row lacks is a gap."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise bad_request("the rows must be a list of dictionaries", columns_hint(signature))
    if not rows:
        raise bad_request("the table has no rows", columns_hint(signature))
    if len(rows) == 1:
        return {name: [cell] for name, cell in rows[0].items()}
    names = dict.fromkeys(name for row in rows for name in row)
    for column in signature.columns:
        if column.required and column.name in names and column.kind not in rules.gaps:
            _require_cells(rows, column, signature)
    return {name: [row.get(name, _GAP) for row in rows] for name in names}


def _require_cells(rows: Sequence[dict[str, Any]], column: ColumnSpec, signature: ModelSignature) -> None:
    for number, row in enumerate(rows):
        if column.name not in row:
            raise bad_request(f"row {number} has no {column.name}", columns_hint(signature))
