"""Spreadsheets: .xlsx, .xls, .xlsb and .ods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlctl.data.tables.formats.content import ReadOptions, TableContent
from mlctl.data.tables.formats.typed_values import typed_frame
from mlctl.data.tables.table_rows import UNNAMED, find_table
from mlctl.domain.short_texts import one_line
from mlctl.errors import BadDataError, UsageError, did_you_mean


def read_spreadsheet(path: Path, options: ReadOptions) -> TableContent:
    """Return a sheet: the one that `options.sheet` names, or the first one with rows."""
    import pandas as pd
    from python_calamine import CalamineWorkbook

    try:
        book = CalamineWorkbook.from_path(str(path))
        sheets = list(book.sheet_names)
        name, rows = _choose_sheet(path, book, sheets, options.sheet)
    except UsageError:
        raise
    except Exception as exc:  # calamine has an exception of its own for each format
        reason = one_line(exc)
        raise BadDataError(
            f"{path} is not a readable spreadsheet: {reason}", "save it again as .xlsx, without a password"
        ) from exc
    written = [[_written(cell) for cell in row] for row in rows]
    place = find_table(path, written, header=options.header, known_names=options.known_names)
    cells = rows[place.first : place.last]
    if options.rows:
        cells = cells[: options.rows]
    columns = []
    for number, column_name in enumerate(place.names):
        values = [row[number] if number < len(row) else None for row in cells]
        values = [None if isinstance(value, str) and not value.strip() else value for value in values]
        if column_name.startswith(UNNAMED) and all(value is None for value in values):
            continue
        columns.append((column_name, pd.Series(values, dtype=object)))
    frame, notes = typed_frame(columns)
    frame = frame.dropna(how="all").reset_index(drop=True)
    others = [other for other in sheets if other != name]
    if others and not options.sheet:
        listed = ", ".join(others[:6])
        notes = (f"sheet {name!r} is read, and not {listed}; to read another one: {path.name}::NAME", *notes)
    header = "with a header" if place.header else "without a header (columns are c1, c2, …)"
    return TableContent(frame=frame, description=f"sheet {name!r}, {header}", notes=(*place.notes, *notes))


def _choose_sheet(path: Path, book: Any, sheets: list[str], wanted: str) -> tuple[str, list[list[Any]]]:
    if wanted:
        name = next((sheet for sheet in sheets if sheet.casefold() == wanted.casefold()), "")
        if not name and wanted.isdigit() and 1 <= int(wanted) <= len(sheets):
            name = sheets[int(wanted) - 1]
        if not name:
            hint = did_you_mean(wanted, sheets) or f"the sheets are {', '.join(sheets[:12])}"
            raise UsageError(f"sheet={wanted}: {path} has no such sheet", hint)
        return name, book.get_sheet_by_name(name).to_python()
    first = ""
    for name in sheets:
        rows = book.get_sheet_by_name(name).to_python()
        if len(rows) > 1 and max(map(len, rows)) > 1:
            return name, rows
        first = first or name
    return first, book.get_sheet_by_name(first).to_python() if first else []


def _written(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell)
