"""Progress of a training on stderr: bars with an ETA on a terminal, one plain line per epoch elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
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
from mlctl.output.messages import console
from mlctl.output.text import format_number

BEST_MARK = "  best"


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
        self._best = ""

    def __enter__(self) -> Self:
        """Return this listener."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove bars and spinners from the terminal."""
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

    def training_started(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Show the bar of all epochs."""
        self._stop_live()
        self._objective, self._epochs = objective, epochs
        self._print(
            Text(f"training {what}: {epochs} epochs of {steps} batches, objective {objective}", style="dim")
        )
        if self._is_live:
            self._start_bar(
                TextColumn("{task.description}"),
                BarColumn(),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                description=f"epoch 1/{epochs}",
                total=epochs * steps,
            )

    def step(self, epoch: int, done: int, steps: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            description = f"epoch {epoch}/{self._epochs}{self._best}"
            self._update_bar(completed=(epoch - 1) * steps + done, description=description)

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: int, seconds: float) -> None:
        """Print the metrics of an epoch above the bar, as many as fit into a line."""
        assert self._objective is not None
        metric = self._objective.metric
        is_best = best == epoch
        line = Text(f"epoch {epoch:>{len(str(self._epochs))}}/{self._epochs}  {seconds:6.2f} s")
        for name in self._ordered(metrics):
            value = format_number(metrics[name])
            if line.cell_len + len(f"  {name} {value}{BEST_MARK}") > self._console.width:
                break
            style = "" if name != metric else "bold green" if is_best else "bold"
            line.append(f"  {name} ", "dim").append(value, style)
        if is_best:
            line.append(BEST_MARK, "green")
            self._best = f"  best {metric} {format_number(metrics[metric])}"
        self._print(line)

    def _ordered(self, metrics: Mapping[str, float]) -> list[str]:
        """Return the metrics to print: losses and the objective first, then the others."""
        assert self._objective is not None
        first = [name for name in ("loss", "val_loss", self._objective.metric) if name in metrics]
        return list(dict.fromkeys([*first, *(name for name in metrics if name != "learning_rate")]))

    def _start_bar(self, *columns: ProgressColumn, description: str, total: int | None) -> None:
        self._bar = Progress(*columns, console=self._console, transient=True)
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
