"""How a search is watched: a live table on a terminal, a plain line a trial elsewhere; all on stderr."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Group
from rich.live import Live
from rich.table import Table as RichTable
from rich.text import Text

from mlctl.domain.objective import Objective
from mlctl.domain.tune import FAILED, RunningTrial, Trial
from mlctl.output.progress import TrainingView
from mlctl.output.render import number
from mlctl.output.words import span

FRAMES_A_SECOND = 4


class SearchView(TrainingView):
    """A SearchWatcher that shows what it sees on stderr."""

    def __init__(self, noun: str = "trial", rounds: str = "epochs") -> None:
        """`noun` is what is searched among, `rounds` what each has several of."""
        super().__init__()
        self._noun, self._rounds = noun, rounds
        self._table: Live | None = None
        self._goal: Objective | None = None
        self._total = 0
        self._within_s: float | None = None
        self._began = time.monotonic()
        self._shown_at = 0.0

    def stage(self, what: str) -> None:
        """Show what is being done; without a spinner's thread before the search, whose workers are forked."""
        self._settle()
        if self._total:
            super().stage(what)
        elif self._live:
            self._print(Text(f"{what} …", style="dim"))

    def search(
        self, what: str, trials: int, parallel: int, objective: Objective, within_s: float | None = None
    ) -> None:  # fmt: skip
        """Begin the table."""
        self._settle()
        self._goal, self._total, self._within_s = objective, trials, within_s
        self._began = time.monotonic()
        self._print(
            Text(
                f"searching {what}: up to {trials} {self._noun}s, {parallel} at once, objective {objective}",
                style="dim",
            )
        )
        if self._live:
            self._table = Live(console=self._console, transient=True, auto_refresh=False)
            self._table.start()

    def trials(
        self, running: Sequence[RunningTrial], finished: int, stopped: int, best: float | None
    ) -> None:
        """Draw the table anew, a few times a second."""
        now = time.monotonic()
        if self._table is None or now - self._shown_at < 1 / FRAMES_A_SECOND:
            return
        self._shown_at = now
        assert self._goal is not None
        table = trials_table(self._goal, self._total, running, finished, stopped, best, now - self._began,
                             self._noun, self._rounds, self._within_s)  # fmt: skip
        self._table.update(table, refresh=True)

    def trial(self, trial: Trial, best: bool) -> None:
        """Show a trial's line; the table stays below it."""
        self._print(trial_line(trial, best, self._noun, self._rounds))

    def _print(self, text: Text) -> None:
        if self._table is not None:
            self._table.console.print(text)
        else:
            super()._print(text)

    def _settle(self) -> None:
        if self._table is not None:
            self._table.stop()
            self._table = None
        super()._settle()


def trials_table(
    objective: Objective, total: int, running: Sequence[RunningTrial], finished: int, stopped: int, best: float | None,
    spent_s: float, noun: str = "trial", rounds: str = "epochs", within_s: float | None = None,
) -> Group:  # fmt: skip
    """Return what is trained now, and a line of how far the search is; `total` 0 says that nobody knows."""
    table = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in (noun, rounds, objective.metric):
        table.add_column(title, justify="left" if title == noun else "right")
    for one in running:
        table.add_row(one.trial, f"{one.epoch}/{one.epochs or '?'}", number(one.value))
    ends = [spent_s / finished * (total - finished)] if finished and total else []
    ends += [max(0.0, within_s - spent_s)] if within_s else []
    eta = span(min(ends)) if ends else "?"
    line = Text(f"{finished}/{total or '?'} {noun}s, {stopped} stopped, best {number(best) or '-'}, "
                f"{span(spent_s)}, ETA {eta}", style="dim")  # fmt: skip
    return Group(table, line)


def trial_line(trial: Trial, best: bool, noun: str = "trial", rounds: str = "epochs") -> Text:
    """Return a trial that has ended, on one line."""
    line = Text(f"{noun} {trial.trial}  ")
    line.append(f"{number(trial.score) or trial.state:>9}", "bold green" if best else "bold")
    values = {name: value for name, value in trial.params.items() if not name.startswith("tuner/")}
    line.append("  " + " ".join(f"{name}={_short(value)}" for name, value in values.items()))
    line.append(f"  {trial.epochs} {rounds}, {span(trial.duration_s)}", "dim")
    if trial.why:
        line.append(f"  {trial.state}: {trial.why}", "red" if trial.state == FAILED else "yellow")
    line.append("  best" if best else "", "green")
    return line


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
