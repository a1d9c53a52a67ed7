"""A table in any of MLflow's payloads to checked columns: what is missing, unknown or mistyped is named."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

from mlctl.domain import missing_values
from mlctl.serving.request_error import bad, quoted, too_large
from mlctl.serving.signature import NUMBERS, Column, Signature

Columns = dict[str, list[Any]]
_KIND_WORDS = {"string": "a text", "boolean": "true or false", "long": "a whole number",
               "integer": "a whole number", "double": "a number", "float": "a number"}  # fmt: skip


def from_json(key: str, value: Any, signature: Signature) -> Columns:
    """Return the checked columns of a JSON payload's value under `key`; raises Refusal."""
    if key == "dataframe_split":
        columns = _from_split(value)
    elif key == "dataframe_records" or _are_records(value):
        columns = _from_records(value, signature)
    elif isinstance(value, dict):
        columns = _from_lists(value)
    elif isinstance(value, list) and value and len(signature.columns) == 1 and not isinstance(value[0], list):
        columns = {signature.names[0]: value}  # one column: its values alone say it all
    else:
        raise bad(
            f"{key} is not a table", f"send a list of rows, each with the columns {_listed(signature.names)}"
        )
    return checked(columns, signature)


def from_csv(body: bytes, signature: Signature, ours: bool) -> Columns:
    """Return the checked columns of a CSV file with a header; raises Refusal.

    For a model that is `ours`, cells are trimmed and words are gaps as in training; for another's, as MLflow has it.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise bad(f"the CSV is not UTF-8: byte {exc.start}", "send UTF-8") from None
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=ours, strict=True))
    except csv.Error as exc:
        raise bad(f"the CSV cannot be read: {exc}", _columns_hint(signature)) from None
    rows = [row for row in rows if row]
    if not rows:
        raise bad("the CSV is empty", _columns_hint(signature))
    kinds = {column.name: column for column in signature.columns}
    header = [name if name in kinds or not ours else name.strip() for name in rows.pop(0)]
    _check_names(header, signature)
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise bad(
                f"row {number} has {len(row)} values, the header {len(header)}", "quote commas in texts"
            )
    columns: Columns = {}
    for index, name in enumerate(header):
        column = kinds[name]
        columns[name] = [_from_text(row[index], column, ours) for row in rows]
    return checked(columns, signature)


def from_parquet(body: bytes, signature: Signature, limit: int) -> Columns:
    """Return the checked columns of a Parquet file; raises Refusal, also for one that unpacks to over `limit` bytes."""
    import pyarrow.parquet  # heavy, and few clients send it

    try:
        table = _unpacked(io.BytesIO(body), limit)
    except (pyarrow.ArrowException, OSError, ValueError):
        raise bad("the Parquet file cannot be read", _columns_hint(signature)) from None
    names = [name for name in table.column_names if not name.startswith("__index_level_")]
    return checked({name: table.column(name).to_pylist() for name in names}, signature)


def _unpacked(file: io.BytesIO, limit: int) -> Any:
    """Read a Parquet file whose values are no more than `limit` bytes; a few bytes of it can stand for gigabytes."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow.parquet import ParquetFile

    opened = ParquetFile(file)
    about = opened.metadata
    sizes = [about.row_group(index).total_byte_size for index in range(about.num_row_groups)]
    if sum(sizes) > limit or about.num_rows * about.num_columns > limit:
        raise too_large(limit)
    described = (opened.schema.column(index) for index in range(about.num_columns))
    texts = [column.path for column in described if column.physical_type == "BYTE_ARRAY"]
    table = ParquetFile(file, read_dictionary=texts).read()  # each text once, however often it is repeated
    said = 0
    for column in filter(lambda one: pa.types.is_dictionary(one.type), table.columns):
        for chunk in column.chunks:
            said += pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
    if said > limit:
        raise too_large(limit)
    return table


def checked(columns: Columns, signature: Signature, first: int = 0) -> Columns:
    """Return the columns with numbers of their signature's type and None for every gap.

    Raises Refusal, which counts rows from `first`.
    """
    _check_names(list(columns), signature)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise bad(
            f"column {quoted(shortest)} has {lengths[shortest]} values, {quoted(longest)} {lengths[longest]}",
            "every column must have one value a row",
        )
    rows = next(iter(lengths.values()), 0)
    if not rows:
        raise bad("the table has no rows", _columns_hint(signature))
    return {
        column.name: _checked_values(columns.get(column.name, [None] * rows), column, first)
        for column in signature.columns
    }


def _checked_values(values: list[Any], column: Column, first: int) -> list[Any]:
    types = set(map(type, values))
    if float in types and column.kind in NUMBERS and not all(map(math.isfinite, _floats(values))):
        values = [None if isinstance(one, float) and math.isnan(one) else one for one in values]
        for row, one in enumerate(values, first):
            if isinstance(one, float) and not math.isfinite(one):
                raise bad(f"the number in row {row}, column {quoted(column.name)} is too large")
        types = set(map(type, values))
    by_kind: dict[str, set[type]] = {"string": {str}, "boolean": {bool}}
    allowed = by_kind.get(column.kind, {int, float}) | (set() if column.required else {type(None)})
    if not types <= allowed:
        row = next(row for row, one in enumerate(values) if type(one) not in allowed)
        found = values[row]
        row += first
        named = "null" if found is None else quoted(found)
        raise bad(
            f"{named} in row {row}, column {quoted(column.name)} is not {_KIND_WORDS[column.kind]}",
            "this column had no gaps in training" if found is None else "",
        )
    if column.kind in {"long", "integer"} and float in types:
        for row, one in enumerate(values, first):
            if one is not None and one != int(one):
                raise bad(f"{one} in row {row}, column {quoted(column.name)} is not a whole number")
        return [None if one is None else int(one) for one in values]
    return values


def _floats(values: list[Any]) -> Any:
    return (one for one in values if isinstance(one, float))


def _from_text(text: str, column: Column, ours: bool) -> Any:
    word = text.strip()
    if column.kind == "string" and not ours:
        return None if text in missing_values.OF_PANDAS and not column.required else text
    if word in (missing_values.WORDS if ours else missing_values.OF_PANDAS):
        return None
    if column.kind in NUMBERS:
        try:
            return int(word) if column.kind in {"long", "integer"} and word.isdigit() else float(word)
        except ValueError:
            return text  # told with its place by the check of types
    if column.kind == "boolean":
        return {"true": True, "false": False}.get(word.lower(), text)
    return word


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _from_split(value: Any) -> Columns:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise bad("dataframe_split must have columns and data", '{"columns": […], "data": [[…], …]}')
    if unknown := set(value) - {"columns", "data", "index"}:
        raise bad(f"unknown in dataframe_split: {_listed(sorted(unknown))}", "known: columns, data, index")
    names, rows = value.get("columns"), value["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise bad("dataframe_split needs columns, a list of names")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            found = f"{len(row)} values" if isinstance(row, list) else quoted(row)
            raise bad(f"row {number} is {found}, columns names {len(names)}")
    if len(set(names)) != len(names):
        raise bad("dataframe_split names a column twice")
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def _from_records(rows: Any, signature: Signature) -> Columns:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise bad("the rows must be a list of dictionaries", _columns_hint(signature))
    if not rows:
        raise bad("the table has no rows", _columns_hint(signature))
    names = dict.fromkeys(name for row in rows for name in row)
    _check_names(list(names), signature)
    required = {column.name for column in signature.columns if column.required}
    for number, row in enumerate(rows):
        if absent := required - row.keys():
            raise bad(f"row {number} has no {_listed(sorted(absent))}", _columns_hint(signature))
    return {name: [row.get(name) for row in rows] for name in names}


def _from_lists(value: dict[str, Any]) -> Columns:
    return {name: one if isinstance(one, list) else [one] for name, one in value.items()}


def _check_names(found: Sequence[str], signature: Signature) -> None:
    known = set(signature.names)
    missing = [column.name for column in signature.columns if column.required and column.name not in found]
    unknown = [name for name in found if name not in known]
    twice = {name for name in found if found.count(name) > 1} if len(set(found)) != len(found) else set()
    if not (missing or unknown or twice):
        return
    said = []
    if missing:
        said.append(f"missing columns: {_listed(missing)}")
    if unknown:
        said.append(f"unknown columns: {_listed([one[:40] for one in unknown])}")
    if twice:
        said.append(f"columns given twice: {_listed(sorted(twice))}")
    raise bad("; ".join(said), _columns_hint(signature))


def _columns_hint(signature: Signature) -> str:
    return f"wanted columns: {_listed(signature.names)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(str(name) for name in islice(names, 12))
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
