"""Text tables with a few damaged rows: too many cells, or a quote that is never closed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlctl.data.tables.dialect import BLANKS, FIXED, Dialect
from mlctl.domain.short_texts import list_some

if TYPE_CHECKING:
    import pyarrow

FEW_ROWS, SHARE_OF_ROWS = 3, 0.01  # rows that may be damaged
Repaired = tuple["pyarrow.Table", list[str]]  # and a note for what was done


def holds_rows_in_cells(table: pyarrow.Table, dialect: Dialect) -> bool:
    """Whether a cell holds whole lines with as many cells as a row: a quote before them is never closed."""
    from pyarrow import compute

    signs = len(dialect.names) - 1
    for column in table.columns:
        is_long = compute.match_substring(column, "\n")
        if not compute.any(is_long).as_py():
            continue
        for cell in column.filter(is_long).to_pylist():
            if any(line.count(dialect.separator) == signs for line in cell.split("\n")[1:]):
                return True
    return False


def with_stray_quotes(text: str, dialect: Dialect) -> Repaired | None:
    """Return a table without the few quotes that begin a cell and have no end; None if there are other reasons.

    `text` holds the lines that are rows.
    """
    if dialect.delimiter in (BLANKS, FIXED) or not dialect.has_quotes:
        return None
    width = len(dialect.names)
    rows: list[list[str]] = []
    stray: list[int] = []
    for number, line in enumerate(text.splitlines(), dialect.first_line + dialect.header_lines + 1):
        if not line:
            continue
        if line.count('"') % 2:
            cells = [
                cell.lstrip()[1:] if cell.lstrip().startswith('"') and cell.count('"') == 1 else cell
                for cell in line.split(dialect.separator)
            ]
            stray.append(number)
        else:
            cells = next(csv.reader([line], delimiter=dialect.separator, skipinitialspace=True))
        if len(cells) != width:
            return None
        rows.append(cells)
    if not stray or _are_many(stray, rows):
        return None
    places = list_some(stray, 3)
    what = "a quote without an end is" if len(stray) == 1 else f"{len(stray)} quotes without an end are"
    lines = "line" if len(stray) == 1 else "lines"
    return _to_table(rows, dialect), [f"{what} left out: {lines} {places}"]


def without_long_rows(text: str, dialect: Dialect) -> Repaired | None:
    """Return a table without the few rows that have more cells than the header; None if they are not few.

    Empty cells at the end of a row are no cells. `text` holds the lines that are rows.
    """
    if dialect.delimiter in (BLANKS, FIXED):
        return None
    width, kept, long = len(dialect.names), [], []
    above = dialect.first_line + dialect.header_lines
    # strict: a quote that is never closed is an error
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=dialect.separator, skipinitialspace=True, strict=True
    )
    try:
        for cells in reader:
            while len(cells) > width and not cells[-1].strip():
                cells.pop()
            if len(cells) <= width:
                kept.append([*cells, *[""] * (width - len(cells))])
            else:
                long.append(above + reader.line_num)
    except csv.Error:
        return None
    if _are_many(long, kept):
        return None
    table = _to_table(kept, dialect)
    if not long:
        return table, []
    places = list_some(long, 3)
    rows, lines = ("1 row has", "line") if len(long) == 1 else (f"{len(long)} rows have", "lines")
    return table, [
        f"{rows} more cells than the header, and {'is' if len(long) == 1 else 'are'} left out: {lines} {places}"
    ]


def _are_many(damaged: Sequence[int], rows: Sequence[Sequence[str]]) -> bool:
    return len(damaged) > max(FEW_ROWS, SHARE_OF_ROWS * len(rows))


def _to_table(rows: Sequence[Sequence[str]], dialect: Dialect) -> pyarrow.Table:
    import pyarrow

    columns = [
        pyarrow.chunked_array([pyarrow.array([row[place] for row in rows], pyarrow.large_string())])
        for place in range(len(dialect.names))
    ]
    first = int(dialect.row_names)
    return pyarrow.table(columns[first:], names=list(dialect.names[first:]))
