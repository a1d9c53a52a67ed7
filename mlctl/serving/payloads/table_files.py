"""Turn a CSV or Parquet body into checked columns, or say which column, row or cell is wrong."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from mlctl.domain import missing_values
from mlctl.domain.column_reading import ColumnReading
from mlctl.domain.numbers import parse_number
from mlctl.domain.truths import CELL_TRUTHS
from mlctl.serving.payloads.request_error import bad_request, body_too_large
from mlctl.serving.payloads.signature import NUMBERS, ColumnSpec, ModelSignature
from mlctl.serving.payloads.tables import (
    LENIENT,
    Columns,
    TableRules,
    check_columns,
    check_names,
    columns_hint,
)

csv.field_size_limit(1 << 30)  # a cell may be a long text; the size of a body is limited elsewhere


def columns_from_csv(
    body: bytes, signature: ModelSignature, *, by_mlctl: bool, rules: TableRules = LENIENT
) -> Columns:
    """Return the checked columns of a CSV file with a header. Raises RequestError.

    For a model that mlctl saved (`by_mlctl`), cells are read as in training; if it has no readings, cells are trimmed,
    numbers may have a currency or percent sign and thousands commas, and the usual words mean a missing value. For
    other models, cells are read as MLflow reads them.
    """
    header, rows = read_csv(body, signature, trims=by_mlctl)
    specs = {column.name: column for column in signature.columns}
    readings = rules.readings
    header = [name if name in specs or not by_mlctl else name.strip() for name in header]
    check_names(header, signature, rules)
    check_lengths(header, rows)
    columns = {
        name: [_parse_cell(row[index], specs[name], readings.get(name), by_mlctl=by_mlctl) for row in rows]
        for index, name in enumerate(header)
        if name in specs
    }
    return check_columns(columns, signature, rules=rules)


def read_csv(
    body: bytes, signature: ModelSignature, *, trims: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a CSV file as texts. Raises RequestError."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise bad_request(f"the CSV is not UTF-8: byte {exc.start}", "send UTF-8") from None
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=trims, strict=True))
    except csv.Error as exc:
        raise bad_request(f"the CSV cannot be read: {exc}", columns_hint(signature)) from None
    rows = [row for row in rows if row]
    if '"' not in text:  # a line of blanks is no row, unless they may be a text in quotes
        rows = [row for row in rows if len(row) > 1 or row[0].strip(" \t")]
    if not rows:
        raise bad_request("the CSV is empty", columns_hint(signature))
    return rows[0], rows[1:]


def check_lengths(header: list[str], rows: list[list[str]]) -> None:
    """Raise RequestError for the first row of a CSV file that is shorter or longer than the header."""
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise bad_request(
                f"row {number} has {len(row)} values, but the header has {len(header)}",
                "quote texts that contain commas",
            )


def columns_from_parquet(
    body: bytes, signature: ModelSignature, *, max_bytes: int, rules: TableRules = LENIENT
) -> Columns:
    """Return the checked columns of a Parquet file of at most `max_bytes` unpacked. Raises RequestError."""
    table = read_parquet(body, max_bytes=max_bytes, hint=columns_hint(signature))
    check_names(table.column_names, signature, rules)
    names = [name for name in signature.names if name in table.column_names]
    return check_columns({name: to_cells(table.column(name)) for name in names}, signature, rules=rules)


def read_parquet(body: bytes, *, max_bytes: int, hint: str) -> Any:
    """Return a Parquet file of at most `max_bytes` unpacked as an Arrow table, without pandas' index."""
    import pyarrow.parquet  # slow to import, and few clients send Parquet

    try:
        table = _read_parquet(io.BytesIO(body), max_bytes)
    except (pyarrow.ArrowException, OSError, ValueError):
        raise bad_request("the Parquet file cannot be read", hint) from None
    return table.select([name for name in table.column_names if not name.startswith("__index_level_")])


def to_cells(column: Any) -> Any:
    """Return an Arrow column as an array if it holds numbers without gaps, or floats, else as a list."""
    import pyarrow as pa

    if pa.types.is_floating(column.type) or (pa.types.is_integer(column.type) and not column.null_count):
        return np.asarray(column.to_numpy())
    return column.to_pylist()


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


def _parse_cell(text: str, column: ColumnSpec, reading: ColumnReading | None, *, by_mlctl: bool) -> Any:
    if reading is not None:
        return reading.read_csv(text)
    word = text.strip()
    if column.kind == "string" and not by_mlctl:
        return None if text in missing_values.PANDAS_WORDS else text
    if word in (missing_values.MISSING_WORDS if by_mlctl else missing_values.PANDAS_WORDS):
        return None
    if column.kind in NUMBERS:
        number = parse_number(text, decorated=by_mlctl)
        return text if number is None else number  # the check of types reports a text with its row and column
    return CELL_TRUTHS.get(word.lower(), text) if column.kind == "boolean" else word
