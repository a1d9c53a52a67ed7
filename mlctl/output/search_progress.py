"""Progress of a search on stderr: a live table on a terminal, one plain line per trial elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mlctl.domain.objective import Objective
from mlctl.domain.tune import FAILED, RunningTrial, Trial
from mlctl.output.epoch_table import STAR
from mlctl.output.progress import BEST_MARK, TrainingProgress
from mlctl.output.text import format_number
from mlctl.units import format_duration

FRAMES_PER_SECOND = 4


class SearchProgress(TrainingProgress):
    """A SearchListener that shows what it receives on stderr."""

    def __init__(self, noun: str = "trial", rounds: str = "epochs") -> None:
        """Name the trials `noun`, and what each of them has many of `rounds`."""
        super().__init__()
        self._noun, self._rounds = noun, rounds
        self._table: Live | None = None
        self._search_objective: Objective | None = None
        self._total = 0
        self._time_limit_s: float | None = None
        self._started = time.monotonic()
        self._drawn_at = 0.0

    def stage(self, what: str) -> None:
        """Show the name of a stage.

        There is no spinner before the search, because its thread would disturb the forking of the workers.
        """
        self._stop_live()
        if self._total:
            super().stage(what)
        elif self._is_live:
            self._print(Text(f"{what} …", style="dim"))

    def search_started(
        self,
        what: str,
        *,
        trials: int,
        parallel: int,
        objective: Objective,
        time_limit_s: float | None = None,
    ) -> None:
        """Show the table of trials."""
        self._stop_live()
        self._search_objective, self._total, self._time_limit_s = objective, trials, time_limit_s
        self._started = time.monotonic()
        plan = f"up to {trials} {self._noun}s, {parallel} at a time, objective {objective}"
        self._print(Text(f"searching {what}: {plan}", style="dim"))
        if self._is_live:
            self._table = Live(console=self._console, transient=True, auto_refresh=False)
            self._table.start()

    def trials_updated(
        self, running: Sequence[RunningTrial], *, finished: int, stopped: int, best: float | None
    ) -> None:
        """Draw the table again, at most a few times a second."""
        now = time.monotonic()
        if self._table is None or now - self._drawn_at < 1 / FRAMES_PER_SECOND:
            return
        self._drawn_at = now
        assert self._search_objective is not None
        table = trials_table(
            running,
            objective=self._search_objective,
            total=self._total,
            finished=finished,
            stopped=stopped,
            best=best,
            elapsed_s=now - self._started,
            time_limit_s=self._time_limit_s,
            noun=self._noun,
            rounds=self._rounds,
        )
        self._table.update(table, refresh=True)

    def trial_ended(self, trial: Trial, is_best: bool) -> None:
        """Print the line of a trial above the table."""
        width = self._console.width if self._is_live else None
        self._print(trial_line(trial, is_best=is_best, noun=self._noun, rounds=self._rounds, width=width))

    def _print(self, text: Text) -> None:
        if self._table is not None:
            self._table.console.print(text)
        else:
            super()._print(text)

    def _stop_live(self) -> None:
        if self._table is not None:
            self._table.stop()
            self._table = None
        super()._stop_live()


def trials_table(
    running: Sequence[RunningTrial],
    *,
    objective: Objective,
    total: int,
    finished: int,
    stopped: int,
    best: float | None,
    elapsed_s: float,
    time_limit_s: float | None = None,
    noun: str = "trial",
    rounds: str = "epochs",
) -> Group:
    """Return a table of the running trials, and a line with the progress; `total` is 0 if it is unknown."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in (noun, rounds, objective.metric):
        table.add_column(title, justify="left" if title == noun else "right")
    for trial in running:
        table.add_row(trial.trial, f"{trial.epoch}/{trial.epochs or '?'}", format_number(trial.value))
    remaining_s = [elapsed_s / finished * (total - finished)] if finished and total else []
    remaining_s += [max(0.0, time_limit_s - elapsed_s)] if time_limit_s else []
    eta = format_duration(min(remaining_s)) if remaining_s else "?"
    progress = (
        f"{finished}/{total or '?'} {noun}s, {stopped} stopped, best {format_number(best) or '-'}, "
        f"{format_duration(elapsed_s)}, ETA {eta}"
    )
    return Group(table, Text(progress, style="dim"))


def trial_line(
    trial: Trial, *, is_best: bool, noun: str = "trial", rounds: str = "epochs", width: int | None = None
) -> Text:
    """Return a trial that has ended as one line; with `width`, what does not fit is cut off at the end."""
    score, style = format_number(trial.score) or trial.state, "bold green" if is_best else "bold"
    values = {name: value for name, value in trial.params.items() if not name.startswith("tuner/")}
    params = "  " + " ".join(f"{name}={_format_value(value)}" for name, value in values.items())
    effort = Text(f"  {trial.epochs} {rounds}, {format_duration(trial.duration_s)}", "dim")
    reason = Text(
        f"  {trial.state}: {trial.reason}" if trial.reason else "",
        "red" if trial.state == FAILED else "yellow",
    )
    if width is None:
        best = Text(BEST_MARK if is_best else "")
        return Text.assemble(f"{noun} {trial.trial}  ", (f"{score:>9}", style), params, effort, reason, best)
    score = f"{score}{STAR if is_best else ' '}"
    line = Text.assemble(f"{noun} {trial.trial}  ", (f"{score:>9}", style), effort, reason, params)
    line.truncate(width, overflow="ellipsis")
    return line


def _format_value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
