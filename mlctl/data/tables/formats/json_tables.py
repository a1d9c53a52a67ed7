"""JSON and JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlctl.data.tables import compression
from mlctl.data.tables.encodings import scan_bytes
from mlctl.data.tables.formats.content import ReadOptions, TableContent
from mlctl.data.tables.formats.typed_values import typed_frame
from mlctl.errors import BadDataError

_NEXT = re.compile(r"[\s,;\x1e]*")  # between two objects
_SHAPES = "a list of objects, an object of lists, or an object with a list of objects in it"


def read_json(path: Path, options: ReadOptions) -> TableContent:
    """Return a JSON document as a table: records, columns, split, or a list under a key."""
    text = _text(path)
    try:
        document = json.loads(text)
    except ValueError as exc:
        records = _parse_stream(text)
        if len(records) > 1:
            return _of_records(path, records, "JSON, one object after another", options)
        raise BadDataError(f"{path} is no JSON: {exc}", "write it again") from exc
    except RecursionError as exc:
        raise BadDataError(f"{path} is nested too deeply for a table", f"a table is {_SHAPES}") from exc
    records, description = _records_of(document)
    if records is None:
        raise BadDataError(f"{path} holds no table", f"a table is {_SHAPES}")
    return _of_records(path, records, description, options)


def read_json_lines(path: Path, options: ReadOptions) -> TableContent:
    """Return a file with a JSON object in each line; one that is a JSON document is read as that."""
    text = _text(path)
    lines = text.lstrip().split("\n", 1)
    if lines[0].strip() in ("[", "{", "[{") or (len(lines) == 1 and lines[0].startswith("[{")):
        return read_json(path, options)
    return _of_records(path, _parse_lines(path, text), "JSON lines", options)


def _text(path: Path) -> str:
    content = compression.read_bytes(path)
    if not content.strip():
        raise BadDataError(f"{path} is empty", "a table needs at least one row")
    return content.decode(scan_bytes(content).encoding, errors="replace").lstrip("\ufeff")


def _parse_lines(path: Path, text: str) -> list[Any]:
    import orjson

    records = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip().removesuffix(",")
        if not line:
            continue
        try:
            try:
                records.append(orjson.loads(line))
            except ValueError:
                records.append(json.loads(line))  # takes NaN
        except ValueError as exc:
            raise BadDataError(f"{path}, line {number} is no JSON: {exc}", "correct that line") from exc
    return records


def _parse_stream(text: str) -> list[Any]:
    """Return the objects of a text in which one follows the other, on any number of lines; [] if it is no such text."""
    records: list[Any] = []
    decoder, place = json.JSONDecoder(), 0
    while match := _NEXT.match(text, place):
        if match.end() == len(text):
            return records
        try:
            record, place = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            return []
        if not isinstance(record, (Mapping, list)):
            return []
        records.append(record)
    return []


def _records_of(document: Any, depth: int = 0) -> tuple[Any, str]:
    """Return a list of records, of rows, or a dictionary of columns, and its description; None if there is none."""
    if isinstance(document, list):
        if document and all(isinstance(row, (Mapping, list)) for row in document):
            return document, "JSON, a list of rows"
        return None, ""
    if not isinstance(document, Mapping) or not document or depth > 2:
        return None, ""
    if isinstance(document.get("data"), list) and isinstance(document.get("columns"), list):
        columns = [
            str(column.get("name", place)) if isinstance(column, Mapping) else str(column)
            for place, column in enumerate(document["columns"])
        ]
        rows = document["data"]
        if all(isinstance(row, list) for row in rows):
            return [columns, *rows], "JSON, columns and data"
        return rows, "JSON, columns and data"
    values = list(document.values())
    are_columns = (
        all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1
    )
    if are_columns and not isinstance(values[0][0] if values[0] else None, Mapping):
        return dict(document), "JSON, a list for each column"
    if all(isinstance(value, Mapping) for value in values) and len(values) > 1:
        return _of_mappings(document)
    lists = {
        key: found
        for key, value in document.items()
        if isinstance(value, (list, Mapping)) and (found := _records_of(value, depth + 1)[0]) is not None
    }
    if lists:
        key = max(lists, key=lambda name: len(lists[name]))
        return lists[key], f"JSON, the rows are in {key!r}"
    if not any(isinstance(value, (list, Mapping)) for value in values):
        return [document], "JSON, one row"
    return None, ""


def _of_mappings(document: Mapping[str, Any]) -> tuple[Any, str]:
    """Return an object of objects: by column as pandas writes it, or by row."""
    inner = [set(value) for value in document.values()]
    same = len(set.intersection(*inner)) == max(map(len, inner))
    by_column = same and all(key.isdigit() for key in inner[0]) and not all(key.isdigit() for key in document)
    if by_column:
        return {
            name: list(cells.values()) for name, cells in document.items()
        }, "JSON, a list for each column"
    return list(document.values()), "JSON, an object for each row"


def _of_records(path: Path, records: Any, description: str, options: ReadOptions) -> TableContent:
    import pandas as pd

    if isinstance(records, Mapping):
        columns = {str(name): list(cells) for name, cells in records.items()}
    elif records and all(isinstance(row, list) for row in records):
        width = max(map(len, records))
        has_names = all(isinstance(cell, str) for cell in records[0]) and len(records) > 1
        has_names = has_names if options.header is None else options.header
        names = [str(cell) for cell in records[0]] if has_names else []
        names += [f"c{number}" for number in range(len(names) + 1, width + 1)]
        rows = records[1:] if has_names else records
        columns = {
            name: [row[place] if place < len(row) else None for row in rows]
            for place, name in enumerate(names)
        }
    elif all(isinstance(row, Mapping) for row in records):
        names = list(dict.fromkeys(key for row in records for key in row))
        columns = {str(name): [row.get(name) for row in records] for name in names}
    else:
        raise BadDataError(f"{path} holds no table", f"a table is {_SHAPES}")
    if options.rows:
        columns = {name: cells[: options.rows] for name, cells in columns.items()}
    frame, notes = typed_frame(
        [(name.strip(), pd.Series(cells, dtype=object)) for name, cells in columns.items()]
    )
    return TableContent(frame=frame, description=description, notes=notes)
