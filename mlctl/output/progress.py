"""Progress of a training on stderr: bars with an ETA on a terminal, one plain line per epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch
from mlctl.output.epoch_table import EpochTable, running_epoch
from mlctl.output.messages import console
from mlctl.output.text import format_number

BEST_MARK = "  best"
LONG_EPOCH_S = 1.0
ROWS_PER_LINE = 1_000_000  # predicted rows, if their number is not known
WIDE = 80  # columns, from which there is room for the elapsed time
NARROWEST_BAR = 24  # columns that the bar and the remaining time need


class TrainingProgress:
    """A ProgressListener that shows what it receives on stderr."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._is_live = sys.stderr.isatty() and not self._console.is_dumb_terminal
        self._bar: Progress | None = None
        self._bar_task: TaskID | None = None
        self._spinner: Progress | None = None
        self._printed_tenths: dict[str, int] = {}  # name of a download -> last tenth that was printed
        self._objective: Objective | None = None
        self._epochs = 0
        self._best: float | None = None  # the objective of the best epoch so far
        self._epoch_table: EpochTable | None = None
        self._running_epoch = 0
        self._epoch_started = 0.0

    def __enter__(self) -> Self:
        """Return this listener."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove bars and spinners from the terminal."""
        self._stop_live()

    def pause(self) -> None:
        """Remove bars and spinners from the terminal, so that a question can be asked."""
        self._stop_live()

    def message(self, text: str) -> None:
        """Print a message."""
        self._print(Text.assemble(("note: ", "yellow"), text))

    def stage(self, what: str) -> None:
        """Show a spinner with the name of the stage; do nothing without a terminal."""
        self._stop_live()
        if self._is_live:
            self._spinner = Progress(
                SpinnerColumn(), TextColumn("{task.description} …"), console=self._console, transient=True
            )
            self._spinner.add_task(what)
            self._spinner.start()

    def download(self, name: str, done: int, total: int | None) -> None:
        """Show the bar of a download; without a terminal, print a line for each tenth."""
        if not self._is_live:
            tenth = int(10 * done / total) if total else 0
            if self._printed_tenths.get(name) != tenth:
                self._printed_tenths[name] = tenth
                self._print(Text(f"downloading {name}: {10 * tenth} %" if total else f"downloading {name}"))
            return
        if self._bar is None:
            self._stop_live()
            self._start_bar(
                TextColumn("downloading {task.description}"),
                BarColumn(),
                DownloadColumn(),
                TimeRemainingColumn(),
                description=name,
                total=total,
            )
        self._update_bar(completed=done, total=total, description=name)

    def predicted(self, rows: int, total: int | None) -> None:
        """Show the bar of predictions; without a terminal, print a line for each tenth, or each million of rows."""
        if not self._is_live:
            part = int(10 * rows / total) if total else rows // ROWS_PER_LINE
            if self._printed_tenths.get("rows", 0) != part:
                self._printed_tenths["rows"] = part
                self._print(Text(f"predicted {rows:,}{f' of {total:,}' if total else ''} rows", style="dim"))
            return
        if self._bar is None:
            self._stop_live()
            self._start_bar(
                TextColumn("{task.description}"),
                BarColumn(),
                TimeRemainingColumn(),
                description="",
                total=total,
            )
        self._update_bar(completed=rows, total=total, description=f"predicted {rows:,} rows")

    def training_started(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Show the bar of all epochs."""
        self._stop_live()
        self._objective, self._epochs = objective, epochs
        self._epoch_table, self._best = EpochTable(objective, epochs), None
        self._print(
            Text(f"training {what}: {epochs} epochs of {steps} batches, objective {objective}", style="dim")
        )
        if self._is_live:
            elapsed = [TimeElapsedColumn()] if self._console.width >= WIDE else []
            self._start_bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                *elapsed,
                TextColumn("ETA"),
                TimeRemainingColumn(),
                description=f"epoch 1/{epochs}",
                total=epochs * steps,
                expand=True,
            )

    def step(self, epoch: int, done: int, steps: int, loss: Callable[[], float]) -> None:
        """Move the bar; show the batch and the running loss of an epoch that takes longer than a second."""
        if self._bar is None:
            return
        now = time.monotonic()
        if epoch != self._running_epoch:
            self._running_epoch, self._epoch_started = epoch, now
        is_long = done < steps and now - self._epoch_started > LONG_EPOCH_S
        description = running_epoch(
            f"epoch {epoch}/{self._epochs}",
            batch=f"batch {done:,}/{steps:,}" if is_long else "",
            loss=loss() if is_long else None,
            best=self._best,
            width=self._console.width - NARROWEST_BAR,
        )
        self._update_bar(completed=(epoch - 1) * steps + done, description=description)

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: Epoch, seconds: float) -> None:
        """Print an epoch above the bar, as a row with those metrics that fit; elsewhere a line with all of them."""
        assert self._objective is not None
        self._best = best.metrics.get(self._objective.metric)
        if self._epoch_table is not None and self._is_live:
            for row in self._epoch_table.lines(epoch, metrics, best, seconds, self._console.width):
                self._print(row)
        else:
            self._print(self._line(epoch, metrics, seconds, is_best=best.number == epoch))

    def _line(self, epoch: int, metrics: Mapping[str, float], seconds: float, *, is_best: bool) -> Text:
        line = Text(f"epoch {epoch:>{len(str(self._epochs))}}/{self._epochs}  {seconds:6.2f} s")
        for name in self._ordered(metrics):
            line.append(f"  {name} {format_number(metrics[name])}")
        return line.append(BEST_MARK if is_best else "")

    def _ordered(self, metrics: Mapping[str, float]) -> list[str]:
        """Return the metrics to print: losses and the objective first, then the others."""
        assert self._objective is not None
        first = [name for name in ("loss", "val_loss", self._objective.metric) if name in metrics]
        return list(dict.fromkeys([*first, *(name for name in metrics if name != "learning_rate")]))

    def _start_bar(
        self, *columns: ProgressColumn, description: str, total: int | None, expand: bool = False
    ) -> None:
        self._bar = Progress(*columns, console=self._console, transient=True, expand=expand)
        self._bar_task = self._bar.add_task(description, total=total)
        self._bar.start()

    def _update_bar(self, *, completed: int, description: str, total: int | None = None) -> None:
        assert self._bar is not None
        assert self._bar_task is not None
        self._bar.update(self._bar_task, completed=completed, total=total, description=description)

    def _print(self, text: Text) -> None:
        live = self._bar or self._spinner
        (live.console if live else self._console).print(text, soft_wrap=not self._is_live)

    def _stop_live(self) -> None:
        """Remove the bar and the spinner."""
        for live in (self._bar, self._spinner):
            if live is not None:
                live.stop()
        self._bar = self._spinner = self._bar_task = None
