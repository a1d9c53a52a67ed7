"""How a training is watched: a bar with an ETA on a terminal, a plain line an epoch elsewhere; all on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mlctl.domain.objective import Objective
from mlctl.output.render import console, number


class TrainingView:
    """A Watcher that shows what it sees on stderr."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._live = sys.stderr.isatty() and not self._console.is_dumb_terminal
        self._bars: Progress | None = None
        self._overall: TaskID | None = None
        self._spinner: Progress | None = None
        self._fetched: dict[str, int] = {}
        self._objective: Objective | None = None
        self._epochs = self._steps = 0
        self._best = ""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self._settle()

    def message(self, text: str) -> None:
        """Tell a thing worth knowing, once."""
        self._print(Text.assemble(("note: ", "yellow"), text))

    def stage(self, what: str) -> None:
        """Show a spinner beside what is being done; nothing where there is no terminal."""
        self._settle()
        if self._live:
            self._spinner = Progress(
                SpinnerColumn(), TextColumn("{task.description} …"), console=self._console, transient=True
            )
            self._spinner.add_task(what)
            self._spinner.start()

    def download(self, name: str, done: int, total: int | None) -> None:
        """Show a download's bar, or a line every tenth of it."""
        if not self._live:
            tenth = int(10 * done / total) if total else 0
            if self._fetched.get(name) != tenth:
                self._fetched[name] = tenth
                self._print(Text(f"fetching {name}: {10 * tenth} %" if total else f"fetching {name}"))
            return
        if self._bars is None:
            self._settle()
            self._bars = Progress(TextColumn("fetching {task.description}"), BarColumn(), DownloadColumn(),
                                  TimeRemainingColumn(), console=self._console, transient=True)  # fmt: skip
            self._overall = self._bars.add_task(name, total=total)
            self._bars.start()
        assert self._overall is not None
        self._bars.update(self._overall, completed=done, total=total, description=name)

    def training_started(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Show the bar of all epochs."""
        self._settle()
        self._objective, self._epochs, self._steps = objective, epochs, steps
        self._print(
            Text(f"training {what}: {epochs} epochs of {steps} batches, objective {objective}", style="dim")
        )
        if self._live:
            self._bars = Progress(
                TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("ETA"),
                TimeRemainingColumn(), console=self._console, transient=True,
            )  # fmt: skip
            self._overall = self._bars.add_task(f"epoch 1/{epochs}", total=epochs * steps)
            self._bars.start()

    def step(self, epoch: int, done: int, steps: int) -> None:
        """Move the bar."""
        if self._bars is not None and self._overall is not None:
            self._bars.update(self._overall, completed=(epoch - 1) * steps + done,
                              description=f"epoch {epoch}/{self._epochs}{self._best}")  # fmt: skip

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: int, seconds: float) -> None:
        """Show an epoch's line; the bar stays below it."""
        assert self._objective is not None
        metric = self._objective.metric
        line = Text(f"epoch {epoch:>{len(str(self._epochs))}}/{self._epochs}  {seconds:6.2f} s")
        mark = "  best" if best == epoch else ""
        for name in self._ranked(metrics):
            shown = f"  {name} {number(metrics[name])}"
            if line.cell_len + len(shown) + len("  best") > self._console.width:
                break
            style = "bold green" if name == metric and best == epoch else ("bold" if name == metric else "")
            line.append(f"  {name} ", "dim").append(number(metrics[name]), style)
        line.append(mark, "green")
        self._print(line)
        if best == epoch:
            self._best = f"  best {metric} {number(metrics[metric])}"

    def _ranked(self, metrics: Mapping[str, float]) -> list[str]:
        """Return the metrics by what is worth a place in a line: the losses, the objective, then the others."""
        assert self._objective is not None
        first = [name for name in ("loss", "val_loss", self._objective.metric) if name in metrics]
        return list(dict.fromkeys([*first, *(name for name in metrics if name != "learning_rate")]))

    def _print(self, text: Text) -> None:
        live = self._bars or self._spinner
        (live.console if live else self._console).print(text, soft_wrap=not self._live)

    def _settle(self) -> None:
        for live in (self._bars, self._spinner):
            if live is not None:
                live.stop()
        self._bars = self._spinner = self._overall = None
