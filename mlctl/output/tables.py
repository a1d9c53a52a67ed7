"""Tables of an answer, and writing them for people, as CSV and as Markdown."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlctl.domain.short_texts import list_some
from mlctl.output.messages import UNLIMITED_WIDTH, console, hint
from mlctl.output.text import format_number

GAP = 2  # spaces between columns
REQUIRED = 9  # `keep` of a column that is never dropped
# names come from every user of a store, and a terminal obeys such characters; those without UTF-8 cannot be printed
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
MAX_OPTIONAL_WIDTH = 40  # of a cell in a column that may be dropped
MIN_REQUIRED_WIDTH = 8  # of a cell in a column that is never dropped
MAX_DRAWING_WIDTH = 100
MAX_LISTED = 5  # titles of columns that have no room


@dataclass(frozen=True)
class TableColumn:
    """One column of a table.

    Attributes:
        keep: Priority on a narrow terminal; columns with the lowest are dropped first, those with 9 (the default) never.
        wrap: Whether a text of a column that is narrowed, and not dropped, continues on the next line; else it is cut.
        narrow_to: Width to which the column is narrowed before another one is dropped; 0 for its full width.
    """

    title: str
    right: bool = False
    keep: int = REQUIRED
    wrap: bool = True
    narrow_to: int = 0

    @property
    def wraps(self) -> bool:
        """Whether texts of this column continue on the next line of a narrow terminal."""
        return self.wrap and not self.right and (self.keep >= REQUIRED or self.narrow_to > 0)


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
        terminal: The same answer with fewer columns, for a terminal.
        hidden_columns: Number of columns that the answer could have, too, if the user chooses them.
    """

    columns: Sequence[TableColumn]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    caption: str = ""
    empty: str = "nothing to show"
    notes: Sequence[str | Text] = ()
    drawing: Callable[[int, bool], Text] | None = None
    terminal: AnswerTable | None = None
    hidden_columns: int = 0


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
    for text in (table.caption, *table.notes):
        if text:
            print(str(text).replace("*", "\\*") + "\n")


def write_table(table: AnswerTable) -> None:
    """Write a table for people: fitted to a terminal, in full to a pipe."""
    out = console()
    is_pipe = out.width >= UNLIMITED_WIDTH and not out.is_terminal
    if table.terminal and not is_pipe:
        table = table.terminal
    if not table.rows:
        out.print(table.empty)
        return
    if table.drawing:
        out.print(table.drawing(min(out.width, MAX_DRAWING_WIDTH), out.color_system is not None))
        return
    if table.title:
        out.print(Text(table.title, style="bold"))
    dropped: Sequence[str] = ()
    if is_pipe:
        _write_lines(table)
    else:
        dropped = _draw(table, out)
    if table.caption:
        out.print(Text(table.caption, style="dim"))
    for note in table.notes:
        out.print(note)
    if table.hidden_columns:
        hint_at_hidden_columns(table, len(dropped))
    elif dropped:
        hint(f"not shown in {out.width} columns: {list_some(dropped, MAX_LISTED)} (a pipe gets all)")


def hint_at_hidden_columns(table: AnswerTable, dropped: int = 0) -> None:
    """Say how many columns are not shown, and how to get them."""
    if table.hidden_columns:
        hint(f"+{table.hidden_columns + dropped} columns: choose with --columns NAME,… or all, or -o json")


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


def _draw(table: AnswerTable, out: Console) -> list[str]:
    """Draw a table as wide as the terminal; return the titles of the columns that have no room."""
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
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
            width=width,
        )
    for row in table.rows:
        drawn.add_row(*[_as_text(row[i]) for i in shown])
    out.print(drawn)
    return [table.columns[index].title for index in dropped]


def _plain(cell: Any) -> str:
    if isinstance(cell, TableCell):
        cell = cell.shown
    if isinstance(cell, float):
        return format_number(cell)
    return "" if cell is None else UNPRINTABLE.sub("?", cell.plain if isinstance(cell, Text) else str(cell))


def _as_text(cell: Any) -> Text:
    if isinstance(cell, TableCell):
        cell = cell.shown
    return cell if isinstance(cell, Text) and not UNPRINTABLE.search(cell.plain) else Text(_plain(cell))


def fit_columns(table: AnswerTable, width: int) -> tuple[list[int], list[int], list[int]]:
    """Return the columns that fit into `width`, the dropped columns, and the widths of the former.

    A column without any value is neither. A long value is cut before its column is dropped, and required columns are narrowed last. Widths are in cells
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
    floors = [
        min(width, max(column.narrow_to, cell_len(column.title))) if column.narrow_to else width
        for width, column in zip(widths, table.columns, strict=True)
    ]
    filled = [i for i in range(len(table.columns)) if any(_plain(row[i]) for row in table.rows)]
    shown = list(filled)
    while _total_width(floors, shown) > width:
        optional = [i for i in shown if table.columns[i].keep < REQUIRED]
        if not optional:
            break
        shown.remove(min(optional, key=lambda i: (table.columns[i].keep, -i)))
    if _total_width(floors, shown) > width:
        _narrow(floors, shown, width, table.columns)
    for index in sorted(
        shown, key=lambda i: -table.columns[i].keep
    ):  # the rest goes to texts that would be cut
        spare = max(0, width - _total_width(floors, shown))
        floors[index] += min(spare, max(0, full_widths[index] - floors[index]))
    dropped = [i for i in filled if i not in shown]
    return shown, dropped, [floors[i] for i in shown]


def _narrow(widths: list[int], shown: Sequence[int], width: int, columns: Sequence[TableColumn]) -> None:
    """Narrow the widest columns until the table fits: first those whose texts wrap, or else are cut."""
    for is_turn in (lambda column: column.wraps, lambda column: not column.right, lambda column: True):
        turn = [i for i in shown if is_turn(columns[i])]
        while turn and _total_width(widths, shown) > width:
            widest = max(turn, key=lambda i: widths[i])
            if widths[widest] <= MIN_REQUIRED_WIDTH:
                break
            widths[widest] -= 1


def _total_width(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[i] + GAP for i in shown) - GAP
