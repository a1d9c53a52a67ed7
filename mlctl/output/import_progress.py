"""Progress of an import on stderr: a bar with an ETA on a terminal, a line at each tenth elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mlctl.output.messages import console, hint


class ImportBar:
    """Shows how many runs are imported."""

    def __init__(self) -> None:
        err = console(stderr=True)
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not err.is_dumb_terminal:
            columns = (TextColumn("runs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=err, transient=True)
        self._task: TaskID | None = None
        self._tenth = 0

    def __enter__(self) -> Self:
        """Show the bar."""
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar."""
        if self._bar:
            self._bar.stop()

    def advanced(self, done: int, total: int) -> None:
        """Show that `done` of `total` runs are there."""
        if self._bar:
            if self._task is None:
                self._task = self._bar.add_task("", total=total)
            self._bar.update(self._task, completed=done)
        elif (tenth := done * 10 // max(total, 1)) > self._tenth:
            self._tenth = tenth
            hint(f"{done:,} of {total:,} runs")
