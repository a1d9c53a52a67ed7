"""Writing tables and documents: as a table for people, as JSON, CSV or Markdown for programs."""

from __future__ import annotations

import csv
import io
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mlctl.errors import RefusedError

GAP = 2  # blanks between columns
LONGEST, NARROWEST = 40, 8  # a cell of a column that may be dropped, and of one that may not
WIDEST_PICTURE = 100
PIPE_WIDTH = 100_000  # nothing is truncated or wrapped where no terminal's width is known


@dataclass(frozen=True)
class Column:
    """One column: a title, which side it leans to, and which columns go first on a narrow terminal.

    `keep` is higher for what matters more; a column of keep 9 is never dropped.
    """

    title: str
    right: bool = False
    keep: int = 5


PAIR = (Column("", keep=9), Column("", keep=9))  # a name and its value, both as long as they are


@dataclass(frozen=True)
class Cell:
    """A value that people see in other words or colours than programs do: CSV writes `value` itself."""

    value: Any
    shown: str | Text


@dataclass(frozen=True)
class Table:
    """A titled table of cells; a cell is text, a number, None, a Cell, or rich Text where colour helps."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    caption: str = ""
    empty: str = "nothing to show"
    notes: Sequence[str] = field(default_factory=tuple)
    drawing: Callable[[int, bool], Text] | None = None  # (width, colours?) -> a picture in place of the rows


class _Console(Console):
    """A console that leaves a broken pipe to the boundary; rich's own would end the program with 1."""

    def on_broken_pipe(self) -> None:
        """Pass it on."""
        raise BrokenPipeError


def console(stderr: bool = False) -> Console:
    """Return a console that honours NO_COLOR, FORCE_COLOR, TERM=dumb and COLUMNS, and never wraps a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper) and "utf" not in stream.encoding.lower():
        stream.reconfigure(errors="replace")  # a mark that cannot be written is not worth failing for
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH
    return _Console(stderr=stderr, width=width, highlight=False, soft_wrap=False, emoji=False, markup=False)


def hint(text: str) -> None:
    """Tell on stderr which command likely comes next."""
    console(stderr=True).print(Text(text, style="dim"), soft_wrap=True)


def warn(text: str) -> None:
    """Tell on stderr what deserves a second look."""
    console(stderr=True).print(Text.assemble(("warning: ", "yellow"), text), soft_wrap=True)


def print_error(message: str, next_step: str) -> None:
    """Tell on stderr what is wrong, in one line, and what to do, in another."""
    err = console(stderr=True)
    err.print(Text.assemble(("error: ", "bold red"), " ".join(message.split())), soft_wrap=True)
    if next_step:
        err.print(Text.assemble(("hint: ", "bold"), " ".join(next_step.split())), soft_wrap=True)


def confirm(question: str, yes: bool) -> None:
    """Return only where the question is answered with yes: by --yes, or on a terminal.

    Raises RefusedError otherwise, and where there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise RefusedError(f"{question} Nobody is there to ask", "say --yes")
    err = console(stderr=True)
    err.print(f"{question} [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise RefusedError("not agreed: nothing was changed", "answer y, or say --yes")


def number(value: float | None) -> str:
    """Return a figure as people read it: four significant digits, whole numbers whole."""
    if value is None:
        return ""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}" if abs(value) >= 100_000 else str(int(value))
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def finite(document: Any) -> Any:
    """Return a document without NaN and infinities, which JSON does not have: null takes their place."""
    if isinstance(document, float) and not math.isfinite(document):
        return None
    if isinstance(document, dict):
        return {key: finite(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [finite(value) for value in document]
    return document


def _plain(cell: Any) -> str:
    if isinstance(cell, Cell):
        cell = cell.shown
    if isinstance(cell, Text):
        return cell.plain
    if isinstance(cell, float):
        return number(cell)
    return "" if cell is None else str(cell)


def write_csv(table: Table) -> None:
    """Write a table as CSV, figures in full."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.title for column in table.columns])
    for row in table.rows:
        values = [cell.value if isinstance(cell, Cell) else cell for cell in row]
        writer.writerow([repr(value) if isinstance(value, float) else _plain(value) for value in values])


def write_markdown(table: Table) -> None:
    """Write a table as Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    if table.title:
        print(f"**{table.title}**\n")
    print(line([column.title for column in table.columns]))
    print(line([("---:" if column.right else "---") for column in table.columns]))
    for row in table.rows:
        print(line([_plain(cell) for cell in row]))
    print()


def write_table(table: Table) -> None:
    """Write a table as people read it: fitted to a terminal, whole in a pipe."""
    out = console()
    if not table.rows:
        out.print(table.empty)
        return
    if table.drawing:
        out.print(table.drawing(min(out.width, WIDEST_PICTURE), out.color_system is not None))
        return
    if table.title:
        out.print(Text(table.title, style="bold"))
    if out.width >= PIPE_WIDTH and not out.is_terminal:
        _write_lines(table)
    else:
        _draw(table, out)
    if table.caption:
        out.print(Text(table.caption, style="dim"))
    for note in table.notes:
        out.print(note)


def _write_lines(table: Table) -> None:
    """Write every column whole, one line a row: what grep, awk and a reader of a file want."""
    rows = [[_plain(cell).replace("\n", " ") for cell in row] for row in table.rows]
    if _headed(table):
        rows.insert(0, [column.title for column in table.columns])
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for column, width, text in zip(table.columns, widths, row, strict=True):
            blanks = " " * (width - cell_len(text))
            cells.append(blanks + text if column.right else text + blanks)
        print((" " * GAP).join(cells).rstrip())


def _headed(table: Table) -> bool:
    return any(column.title for column in table.columns)


def _draw(table: Table, out: Console) -> None:
    shown, dropped, widths = _fitting(table, out.width)
    drawn = RichTable(
        box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold", show_header=_headed(table)
    )
    for index, width in zip(shown, widths, strict=True):
        column = table.columns[index]
        wraps = column.keep >= 9 and not column.right
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
        names = ", ".join(table.columns[index].title for index in dropped)
        hint(f"not shown on {out.width} columns of terminal: {names}")


def _as_text(cell: Any) -> Text:
    if isinstance(cell, Cell):
        cell = cell.shown
    return cell if isinstance(cell, Text) else Text(_plain(cell))


def _fitting(table: Table, width: int) -> tuple[list[int], list[int], list[int]]:
    """Return the columns that fit into `width`, those dropped, least wanted first, and how wide each is.

    A long value is cut before its column is dropped; a column that may not be dropped is narrowed last.
    Widths are those of the terminal's cells: a wide character takes two.
    """
    whole = [
        max([cell_len(column.title), *(cell_len(_plain(row[index])) for row in table.rows)])
        for index, column in enumerate(table.columns)
    ]
    wanted = [
        size if column.keep >= 9 or width >= PIPE_WIDTH else min(size, max(LONGEST, cell_len(column.title)))
        for size, column in zip(whole, table.columns, strict=True)
    ]
    shown = list(range(len(table.columns)))

    def needed() -> int:
        return sum(wanted[i] + GAP for i in shown) - GAP

    while needed() > width:
        droppable = [i for i in shown if table.columns[i].keep < 9]
        if not droppable:
            break
        shown.remove(min(droppable, key=lambda i: (table.columns[i].keep, -i)))
    while needed() > width and max(wanted[i] for i in shown) > NARROWEST:
        wanted[max(shown, key=lambda i: wanted[i])] -= 1
    return shown, [i for i in range(len(table.columns)) if i not in shown], [wanted[i] for i in shown]
