"""Writing tables and documents: as a table for people, as JSON, CSV or Markdown for programs."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mlctl.errors import RefusedError

PIPE_WIDTH = 100_000  # nothing is truncated or wrapped where no terminal's width is known


@dataclass(frozen=True)
class Column:
    """One column: a title, which side it leans to, and which columns go first on a narrow terminal.

    `keep` is higher for what matters more; a column of keep 9 is never dropped.
    """

    title: str
    right: bool = False
    keep: int = 5


@dataclass(frozen=True)
class Table:
    """A titled table of cells; a cell is text, a number, None, or rich Text where colour helps."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    caption: str = ""
    empty: str = "nothing to show"
    notes: Sequence[str] = field(default_factory=tuple)


class _Console(Console):
    """A console that leaves a broken pipe to the boundary; rich's own would end the program with 1."""

    def on_broken_pipe(self) -> None:
        """Pass it on."""
        raise BrokenPipeError


def console(stderr: bool = False) -> Console:
    """Return a console that honours NO_COLOR, FORCE_COLOR, TERM=dumb and COLUMNS, and never wraps a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH
    return _Console(stderr=stderr, width=width, highlight=False, soft_wrap=False, emoji=False, markup=False)


def show(answer: object, form: str = "table") -> None:
    """Write an answer to stdout as `form`: table, json, csv or md."""
    from mlctl.output import views

    if form == "json":
        print(json.dumps(finite(views.document(answer)), indent=2, ensure_ascii=False, default=str))
        return
    tables = views.tables(answer)
    if form == "csv":
        _write_csv(tables[0])
        return
    for number, table in enumerate(tables):
        if number and form == "table":
            print()
        (_write_markdown if form == "md" else _write_table)(table)


def hint(text: str) -> None:
    """Tell on stderr which command likely comes next."""
    console(stderr=True).print(Text(text, style="dim"), soft_wrap=True)


def warn(text: str) -> None:
    """Tell on stderr what deserves a second look."""
    console(stderr=True).print(Text.assemble(("warning: ", "yellow"), text), soft_wrap=True)


def complain(message: str, next_step: str) -> None:
    """Tell on stderr what is wrong, in one line, and what to do, in another."""
    err = console(stderr=True)
    err.print(Text.assemble(("error: ", "bold red"), " ".join(message.split())), soft_wrap=True)
    if next_step:
        err.print(Text.assemble(("hint: ", "bold"), " ".join(next_step.split())), soft_wrap=True)


def agreed(question: str, yes: bool) -> None:
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
    if isinstance(cell, Text):
        return cell.plain
    if isinstance(cell, float):
        return number(cell)
    return "" if cell is None else str(cell)


def _write_csv(table: Table) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.title for column in table.columns])
    for row in table.rows:
        writer.writerow([repr(cell) if isinstance(cell, float) else _plain(cell) for cell in row])


def _write_markdown(table: Table) -> None:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    if table.title:
        print(f"**{table.title}**\n")
    print(line([column.title for column in table.columns]))
    print(line([("---:" if column.right else "---") for column in table.columns]))
    for row in table.rows:
        print(line([_plain(cell) for cell in row]))
    print()


def _write_table(table: Table) -> None:
    out = console()
    if not table.rows:
        out.print(table.empty)
        return
    shown, dropped = _fitting(table, out.width)
    drawn = RichTable(
        title=Text(table.title, style="bold") if table.title else None,
        title_justify="left",
        caption=Text(table.caption, style="dim") if table.caption else None,
        caption_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for index in shown:
        column = table.columns[index]
        # what must stay is wrapped where it is too long, an id too: nothing is ever cut off
        side: Literal["left", "right"] = "right" if column.right else "left"
        drawn.add_column(column.title, justify=side, no_wrap=column.keep < 9, overflow="fold")
    for row in table.rows:
        drawn.add_row(*[cell if isinstance(cell := row[i], Text) else Text(_plain(cell)) for i in shown])
    out.print(drawn)
    if dropped:
        names = ", ".join(table.columns[index].title for index in dropped)
        hint(f"{len(dropped)} columns not shown on {out.width} columns of terminal: {names}")
    for note in table.notes:
        out.print(note)


def _fitting(table: Table, width: int) -> tuple[list[int], list[int]]:
    """Return which columns fit into `width` characters, and which were dropped, least wanted first."""
    cells = [
        max([len(column.title), *(len(_plain(row[index])) for row in table.rows)])
        for index, column in enumerate(table.columns)
    ]
    shown = list(range(len(table.columns)))
    while sum(cells[i] + 1 for i in shown) > width:
        droppable = [i for i in shown if table.columns[i].keep < 9]
        if not droppable:
            break
        shown.remove(min(droppable, key=lambda i: (table.columns[i].keep, -i)))
    return shown, [i for i in range(len(table.columns)) if i not in shown]
