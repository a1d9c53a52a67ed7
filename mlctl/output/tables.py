"""Tables of an answer, and writing them for people, as CSV and as Markdown."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlctl.output.messages import UNLIMITED_WIDTH, console, hint
from mlctl.output.text import format_number

GAP = 2  # spaces between columns
REQUIRED = 9  # `keep` of a column that is never dropped
MAX_OPTIONAL_WIDTH = 40  # of a cell in a column that may be dropped
MIN_REQUIRED_WIDTH = 8  # of a cell in a column that is never dropped
MAX_DRAWING_WIDTH = 100


@dataclass(frozen=True)
class TableColumn:
    """One column of a table.

    Attributes:
        keep: Priority on a narrow terminal; columns with the lowest are dropped first, those with 9 (the default) never.
    """

    title: str
    right: bool = False
    keep: int = REQUIRED


@dataclass(frozen=True)
class TableCell:
    """A value that people see as `shown`, and that CSV contains as `value`."""

    value: Any
    shown: str | Text


@dataclass(frozen=True, kw_only=True)
class AnswerTable:
    """A table; a cell is a text, a number, None, a TableCell or a rich Text.

    Attributes:
        empty: Text to show if there are no rows.
        drawing: Draws the rows as a picture, given the width and whether there are colours.
    """

    columns: Sequence[TableColumn]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    caption: str = ""
    empty: str = "nothing to show"
    notes: Sequence[str] = ()
    drawing: Callable[[int, bool], Text] | None = None


def pair_table(rows: Sequence[tuple[str, Any]], title: str = "") -> AnswerTable:
    """Return a table of names and values without a header."""
    return AnswerTable(columns=(TableColumn(""), TableColumn("")), rows=rows, title=title)


def write_csv(table: AnswerTable) -> None:
    """Write a table as CSV, with numbers in full precision."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.title for column in table.columns])
    for row in table.rows:
        values = [cell.value if isinstance(cell, TableCell) else cell for cell in row]
        writer.writerow([repr(value) if isinstance(value, float) else _plain(value) for value in values])


def write_markdown(table: AnswerTable) -> None:
    """Write a table as Markdown."""
    if table.title:
        print(f"**{table.title}**\n")
    print(_markdown_line([column.title for column in table.columns]))
    print(_markdown_line([("---:" if column.right else "---") for column in table.columns]))
    for row in table.rows:
        print(_markdown_line([_plain(cell) for cell in row]))
    print()


def write_table(table: AnswerTable) -> None:
    """Write a table for people: fitted to a terminal, in full to a pipe."""
    out = console()
    if not table.rows:
        out.print(table.empty)
        return
    if table.drawing:
        out.print(table.drawing(min(out.width, MAX_DRAWING_WIDTH), out.color_system is not None))
        return
    if table.title:
        out.print(Text(table.title, style="bold"))
    if out.width >= UNLIMITED_WIDTH and not out.is_terminal:
        _write_lines(table)
    else:
        _draw(table, out)
    if table.caption:
        out.print(Text(table.caption, style="dim"))
    for note in table.notes:
        out.print(note)


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _write_lines(table: AnswerTable) -> None:
    """Write one line a row with all columns in full, for grep, awk and files."""
    rows = [[_plain(cell).replace("\n", " ") for cell in row] for row in table.rows]
    if _has_header(table):
        rows.insert(0, [column.title for column in table.columns])
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for column, width, text in zip(table.columns, widths, row, strict=True):
            blanks = " " * (width - cell_len(text))
            cells.append(blanks + text if column.right else text + blanks)
        print((" " * GAP).join(cells).rstrip())


def _has_header(table: AnswerTable) -> bool:
    return any(column.title for column in table.columns)


def _draw(table: AnswerTable, out: Console) -> None:
    shown, dropped, widths = fit_columns(table, out.width)
    drawn = Table(
        box=None,
        padding=(0, GAP, 0, 0),
        pad_edge=False,
        header_style="bold",
        show_header=_has_header(table),
    )
    for index, width in zip(shown, widths, strict=True):
        column = table.columns[index]
        wraps = column.keep >= REQUIRED and not column.right
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not wraps,
            overflow="fold" if wraps else "ellipsis",
            width=width,
        )
    for row in table.rows:
        drawn.add_row(*[_as_text(row[i]) for i in shown])
    out.print(drawn)
    if dropped:
        titles = ", ".join(table.columns[index].title for index in dropped)
        hint(f"the terminal has {out.width} columns; not shown: {titles}")


def _plain(cell: Any) -> str:
    if isinstance(cell, TableCell):
        cell = cell.shown
    if isinstance(cell, Text):
        return cell.plain
    if isinstance(cell, float):
        return format_number(cell)
    return "" if cell is None else str(cell)


def _as_text(cell: Any) -> Text:
    if isinstance(cell, TableCell):
        cell = cell.shown
    return cell if isinstance(cell, Text) else Text(_plain(cell))


def fit_columns(table: AnswerTable, width: int) -> tuple[list[int], list[int], list[int]]:
    """Return the columns that fit into `width`, the dropped columns, and the widths of the former.

    A long value is cut before its column is dropped, and required columns are narrowed last. Widths are in cells
    of the terminal, of which a wide character takes two.
    """
    full_widths = [
        max([cell_len(column.title), *(cell_len(_plain(row[index])) for row in table.rows)])
        for index, column in enumerate(table.columns)
    ]
    widths = [
        full
        if column.keep >= REQUIRED or width >= UNLIMITED_WIDTH
        else min(full, max(MAX_OPTIONAL_WIDTH, cell_len(column.title)))
        for full, column in zip(full_widths, table.columns, strict=True)
    ]
    shown = list(range(len(table.columns)))
    while _total_width(widths, shown) > width:
        optional = [i for i in shown if table.columns[i].keep < REQUIRED]
        if not optional:
            break
        shown.remove(min(optional, key=lambda i: (table.columns[i].keep, -i)))
    while _total_width(widths, shown) > width and max(widths[i] for i in shown) > MIN_REQUIRED_WIDTH:
        widths[max(shown, key=lambda i: widths[i])] -= 1
    dropped = [i for i in range(len(table.columns)) if i not in shown]
    return shown, dropped, [widths[i] for i in shown]


def _total_width(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[i] + GAP for i in shown) - GAP
