"""Turn a table in any of MLflow's payloads into checked columns, or say which column, row or cell is wrong."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

from mlctl.domain import missing_values
from mlctl.serving.payloads.request_error import bad_request, body_too_large, quote
from mlctl.serving.payloads.signature import NUMBERS, ColumnSpec, ModelSignature

Columns = dict[str, list[Any]]
_KIND_NAMES = {
    "string": "a text",
    "boolean": "true or false",
    "long": "a whole number",
    "integer": "a whole number",
    "double": "a number",
    "float": "a number",
}


def columns_from_json(key: str, value: Any, signature: ModelSignature) -> Columns:
    """Return the checked columns of a JSON payload's value under `key`. Raises RequestError."""
    if key == "dataframe_split":
        columns = _from_split(value)
    elif key == "dataframe_records" or _are_records(value):
        columns = _from_records(value, signature)
    elif isinstance(value, dict):
        columns = {name: cells if isinstance(cells, list) else [cells] for name, cells in value.items()}
    elif isinstance(value, list) and value and len(signature.columns) == 1 and not isinstance(value[0], list):
        columns = {signature.names[0]: value}  # with one column, its values alone are unambiguous
    else:
        raise bad_request(
            f"{key} is not a table", f"send a list of rows, each with the columns {_join(signature.names)}"
        )
    return check_columns(columns, signature)


def cells_from_json(key: str, value: Any) -> Columns:
    """Return the columns of `dataframe_split` or `dataframe_records` with their cells as they are."""
    if key == "dataframe_split":
        return _from_split(value)
    if not _are_records(value) or not all(isinstance(row, dict) for row in value):
        raise bad_request(f"{key} is not a list of rows", "each row is a dictionary of values by name")
    for number, row in enumerate(value):
        if row.keys() != value[0].keys():
            raise bad_request(
                f"row {number} has other names than row 0", f"row 0 has {_join(list(value[0]))}"
            )
    return {name: [row[name] for row in value] for name in value[0]}


def columns_from_csv(body: bytes, signature: ModelSignature, *, by_mlctl: bool) -> Columns:
    """Return the checked columns of a CSV file with a header. Raises RequestError.

    For a model that mlctl saved (`by_mlctl`), cells are trimmed, and the same words mean a missing value as in
    training. For other models, cells are read as MLflow reads them.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise bad_request(f"the CSV is not UTF-8: byte {exc.start}", "send UTF-8") from None
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=by_mlctl, strict=True))
    except csv.Error as exc:
        raise bad_request(f"the CSV cannot be read: {exc}", _columns_hint(signature)) from None
    rows = [row for row in rows if row]
    if not rows:
        raise bad_request("the CSV is empty", _columns_hint(signature))
    specs = {column.name: column for column in signature.columns}
    header = [name if name in specs or not by_mlctl else name.strip() for name in rows.pop(0)]
    _check_names(header, signature)
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise bad_request(
                f"row {number} has {len(row)} values, but the header has {len(header)}",
                "quote texts that contain commas",
            )
    columns = {
        name: [_parse_cell(row[index], specs[name], by_mlctl=by_mlctl) for row in rows]
        for index, name in enumerate(header)
    }
    return check_columns(columns, signature)


def columns_from_parquet(body: bytes, signature: ModelSignature, *, max_bytes: int) -> Columns:
    """Return the checked columns of a Parquet file of at most `max_bytes` unpacked. Raises RequestError."""
    import pyarrow.parquet  # slow to import, and few clients send Parquet

    try:
        table = _read_parquet(io.BytesIO(body), max_bytes)
    except (pyarrow.ArrowException, OSError, ValueError):
        raise bad_request("the Parquet file cannot be read", _columns_hint(signature)) from None
    names = [name for name in table.column_names if not name.startswith("__index_level_")]
    return check_columns({name: table.column(name).to_pylist() for name in names}, signature)


def _read_parquet(file: io.BytesIO, max_bytes: int) -> Any:
    """Read a Parquet file. Check its unpacked size first, because a few bytes can stand for gigabytes."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow.parquet import ParquetFile

    parquet = ParquetFile(file)
    metadata = parquet.metadata
    sizes = [metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)]
    if sum(sizes) > max_bytes or metadata.num_rows * metadata.num_columns > max_bytes:
        raise body_too_large(max_bytes)
    column_schemas = (parquet.schema.column(index) for index in range(metadata.num_columns))
    texts = [column.path for column in column_schemas if column.physical_type == "BYTE_ARRAY"]
    table = ParquetFile(file, read_dictionary=texts).read()  # each text once, however often it is repeated
    text_bytes = 0
    for column in (column for column in table.columns if pa.types.is_dictionary(column.type)):
        for chunk in column.chunks:
            text_bytes += pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
    if text_bytes > max_bytes:
        raise body_too_large(max_bytes)
    return table


def check_columns(columns: Columns, signature: ModelSignature, first_row: int = 0) -> Columns:
    """Return the columns with numbers of their signature's type, and None for every missing value.

    Raises RequestError if a column or value does not fit; its message counts rows from `first_row`.
    """
    _check_names(list(columns), signature)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise bad_request(
            f"column {quote(shortest)} has {lengths[shortest]} values, {quote(longest)} has {lengths[longest]}",
            "every column must have one value per row",
        )
    rows = next(iter(lengths.values()), 0)
    if not rows:
        raise bad_request("the table has no rows", _columns_hint(signature))
    return {
        column.name: _check_values(columns.get(column.name, [None] * rows), column, first_row)
        for column in signature.columns
    }


def _check_values(values: list[Any], column: ColumnSpec, first_row: int) -> list[Any]:
    types = set(map(type, values))
    if float in types and column.kind in NUMBERS and not all(map(math.isfinite, _floats(values))):
        values = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
        for row, value in enumerate(values, first_row):
            if isinstance(value, float) and not math.isfinite(value):
                raise bad_request(f"the number in {_cell_name(row, column)} is too large")
        types = set(map(type, values))
    types_by_kind: dict[str, set[type]] = {"string": {str}, "boolean": {bool}}
    allowed = types_by_kind.get(column.kind, {int, float}) | (set() if column.required else {type(None)})
    if not types <= allowed:
        index, value = next(
            (index, value) for index, value in enumerate(values) if type(value) not in allowed
        )
        raise bad_request(
            f"{'null' if value is None else quote(value)} in {_cell_name(first_row + index, column)}"
            f" is not {_KIND_NAMES[column.kind]}",
            "this column had no gaps in training" if value is None else "",
        )
    if column.kind in {"long", "integer"} and float in types:
        for row, value in enumerate(values, first_row):
            if value is not None and value != int(value):
                raise bad_request(f"{value} in {_cell_name(row, column)} is not a whole number")
        return [None if value is None else int(value) for value in values]
    return values


def _cell_name(row: int, column: ColumnSpec) -> str:
    return f"row {row}, column {quote(column.name)}"


def _floats(values: list[Any]) -> Any:
    return (value for value in values if isinstance(value, float))


def _parse_cell(text: str, column: ColumnSpec, *, by_mlctl: bool) -> Any:
    word = text.strip()
    if column.kind == "string" and not by_mlctl:
        return None if text in missing_values.PANDAS_WORDS and not column.required else text
    if word in (missing_values.MISSING_WORDS if by_mlctl else missing_values.PANDAS_WORDS):
        return None
    if column.kind in NUMBERS:
        try:
            return int(word) if column.kind in {"long", "integer"} and word.isdigit() else float(word)
        except ValueError:
            return text  # the check of types reports it with its row and column
    if column.kind == "boolean":
        return {"true": True, "false": False}.get(word.lower(), text)
    return word


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _from_split(value: Any) -> Columns:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise bad_request("dataframe_split must have columns and data", '{"columns": […], "data": [[…], …]}')
    if unknown := set(value) - {"columns", "data", "index"}:
        raise bad_request(
            f"unknown keys in dataframe_split: {_join(sorted(unknown))}",
            "it may have columns, data and index",
        )
    names, rows = value.get("columns"), value["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise bad_request("the columns of dataframe_split must be a list of names")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            actual = f"has {len(row)} values" if isinstance(row, list) else f"is {quote(row)}"
            raise bad_request(f"row {number} {actual}, but there are {len(names)} column names")
    if len(set(names)) != len(names):
        raise bad_request("dataframe_split names a column twice")
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def _from_records(rows: Any, signature: ModelSignature) -> Columns:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise bad_request("the rows must be a list of dictionaries", _columns_hint(signature))
    if not rows:
        raise bad_request("the table has no rows", _columns_hint(signature))
    names = dict.fromkeys(name for row in rows for name in row)
    _check_names(list(names), signature)
    required = {column.name for column in signature.columns if column.required}
    for number, row in enumerate(rows):
        if missing := required - row.keys():
            raise bad_request(f"row {number} has no {_join(sorted(missing))}", _columns_hint(signature))
    return {name: [row.get(name) for row in rows] for name in names}


def _check_names(names: Sequence[str], signature: ModelSignature) -> None:
    known = set(signature.names)
    missing = [column.name for column in signature.columns if column.required and column.name not in names]
    unknown = [name for name in names if name not in known]
    repeated = {name for name in names if names.count(name) > 1} if len(set(names)) != len(names) else set()
    problems = []
    if missing:
        problems.append(f"missing columns: {_join(missing)}")
    if unknown:
        problems.append(f"unknown columns: {_join([name[:40] for name in unknown])}")
    if repeated:
        problems.append(f"repeated columns: {_join(sorted(repeated))}")
    if problems:
        raise bad_request("; ".join(problems), _columns_hint(signature))


def _columns_hint(signature: ModelSignature) -> str:
    return f"the model takes the columns {_join(signature.names)}"


def _join(names: Sequence[str]) -> str:
    shown = ", ".join(str(name) for name in islice(names, 12))
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
