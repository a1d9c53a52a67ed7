"""What was wrong with the cells of a file, in a few lines for the whole file, whatever its length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from mlctl.domain.progress import ProgressListener
from mlctl.domain.short_texts import list_some

MAX_ROWS, MAX_COLUMNS = 3, 8
MISSING, UNREAD, NEW = "missing", "unread", "new"
_LINES = {
    MISSING: "missing values where training had none count as missing: {cells}",
    UNREAD: "cells of another kind than in training count as missing: {cells}",
    NEW: "categories that training did not have: {cells}",
}

Array = np.ndarray[Any, Any]


@dataclass
class _Cells:
    """Some cells of a column: how many there are, and the first of them."""

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)


class CellReport:
    """Collects cells while batches of a file are read, in any order and in several threads.

    Its lines count rows from 1, without the header. When all batches were read, it sends its lines to the listener.
    """

    def __init__(self, name: str, columns: Sequence[str], listener: ProgressListener) -> None:
        """`name` is that of the file, `columns` are the model's, in the order of the lines."""
        self._name = name
        self._order = {column: place for place, column in enumerate(columns)}
        self._listener = listener
        self._found: dict[str, dict[str, _Cells]] = {kind: {} for kind in _LINES}
        self._lock = Lock()
        self._open = 1  # batches that are not read yet, and the end of the file
        self._absent: tuple[str, ...] = ()
        self._renamed: tuple[str, ...] = ()

    def lacks(self, columns: Sequence[str]) -> None:
        """Note columns that the file does not have."""
        self._absent = tuple(columns)

    def renames(self, columns: Iterable[str]) -> None:
        """Note columns that have another name in the file than in the model, in case or blanks."""
        self._renamed = tuple(columns)

    def start_batch(self) -> None:
        """Count a batch that is going to be read."""
        with self._lock:
            self._open += 1

    def add(self, kind: str, column: str, is_found: Array, first_row: int, cells: Any = None) -> None:
        """Note cells of a column; `first_row` is the number of the batch's first row, counted from 0."""
        rows = np.flatnonzero(is_found)
        shown = [
            (first_row + int(row) + 1, "" if cells is None else str(cells[row])[:30])
            for row in rows[:MAX_ROWS]
        ]
        with self._lock:
            found = self._found[kind].setdefault(column, _Cells())
            found.count += len(rows)
            found.first = sorted([*found.first, *shown])[:MAX_ROWS]

    def end_batch(self) -> None:
        """Count a batch that was read, or the end of the file; the last one sends the lines."""
        with self._lock:
            self._open -= 1
            is_last = not self._open
        if is_last:
            for line in self.lines():
                self._listener.message(f"{self._name}: {line}")

    def lines(self) -> list[str]:
        """Return one line for each kind of cells that were found."""
        lines = []
        if self._renamed:
            listed = list_some(self._renamed, MAX_COLUMNS)
            lines.append(f"columns whose names differ only in case or blanks are taken: {listed}")
        if self._absent:
            listed = list_some(self._absent, MAX_COLUMNS)
            lines.append(f"columns that are not in the file count as missing: {listed}")
        for kind, columns in self._found.items():
            if columns:
                shown = sorted(columns, key=lambda name: self._order.get(name, 0))[:MAX_COLUMNS]
                listed = "; ".join(_describe(name, columns[name]) for name in shown)
                more = f" and {len(columns) - MAX_COLUMNS} more columns" if len(columns) > MAX_COLUMNS else ""
                lines.append(_LINES[kind].format(cells=listed + more))
        return lines


def _describe(name: str, cells: _Cells) -> str:
    rows = ", ".join(f"{row} ({cell!r})" if cell else str(row) for row, cell in cells.first)
    more = f" and {cells.count - len(cells.first):,} more" if cells.count > len(cells.first) else ""
    return f"{name} in row{'s' if cells.count > 1 else ''} {rows}{more}"
