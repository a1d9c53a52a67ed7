"""The nouns of a search: its space, its trials, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mlctl.domain.hyperband import Bracket
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run


def whole_steps(low: float, high: float, step: float) -> int:
    """Return how many steps there are in a range, its end included where they meet it: 6 of 0.1 in 0..0.6."""
    return math.floor((high - low) / step + 1e-9)


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter that is searched: choices, or a range that may have a step or be logarithmic.

    `integer` says that values are whole; `default` is the recipe's own value, where a grid begins.
    """

    name: str
    default: Any
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    integer: bool = False

    @property
    def size(self) -> float:
        """How many values there are; infinite for a range of numbers without a step."""
        if self.choices:
            return len(self.choices)
        if self.step and not self.log:
            return whole_steps(self.low, self.high, self.step) + 1
        return self.high - self.low + 1 if self.integer else math.inf

    def stepped(self, number: int) -> float:
        """Return the value so many steps above the lowest, as it is written: 0.3, where 3 * 0.1 is not quite that."""
        assert self.step is not None
        return float(f"{self.low + number * self.step:.12g}")

    @property
    def words(self) -> str:
        """The dimension as --space takes it: 16..64:16, 0.0001..0.1:log, rmsprop|adam."""
        if self.choices:
            return "|".join(str(choice) for choice in self.choices)
        tail = ":log" if self.log else f":{self.step:g}" if self.step else ""
        return f"{self.low:g}..{self.high:g}{tail}"


TRIAL_TAG = "mlctl.trial"  # on the nested run of a trial, or of one model of a race: its name
DONE, STOPPED, FAILED, RUNNING = "done", "stopped", "failed", "running"
INTERRUPTED = "interrupted"  # said of a trial that was running when its search was: resume begins it again


@dataclass(frozen=True)
class Trial:
    """One trial: its values, how it went, and its nested run.

    `score` is the mean over executions of the best epoch's objective, None where there is none; `epochs` counts
    the epochs of one execution, `why` says why it was stopped or how it failed.
    """

    trial: str
    run_id: str
    state: str
    params: Mapping[str, Any]
    score: float | None = None
    epochs: int = 0
    duration_s: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Search:
    """A finished search: the parent run, which holds the final model, and every trial, best first."""

    run: Run
    objective: Objective
    trials: tuple[Trial, ...]
    ended: str
    best: str | None

    @property
    def run_id(self) -> str:
        """The parent run's id."""
        return self.run.run_id


@dataclass(frozen=True)
class SearchPlan:
    """What a search would do: `size` counts the space's combinations (infinite where a range has no step).

    `brackets` are hyperband's.
    """

    recipe: str
    algorithm: str
    objective: Objective
    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Any]
    size: float
    trials: int
    first: tuple[Mapping[str, Any], ...]
    epochs: int = 0
    notes: tuple[str, ...] = ()
    brackets: tuple[Bracket, ...] = ()


@dataclass(frozen=True)
class RunningTrial:
    """A trial that is being trained right now."""

    trial: str
    epoch: int
    epochs: int
    value: float | None


@dataclass(frozen=True)
class SearchSnapshot:
    """A search at this moment: what is trained, and what has ended, in the order of beginning."""

    objective: Objective
    total: int
    running: tuple[RunningTrial, ...]
    ended: tuple[Trial, ...]

    @property
    def best(self) -> Trial | None:
        """The best trial so far."""
        found: Trial | None = None
        for one in self.ended:
            if one.score is not None and (
                found is None or found.score is None or self.objective.better(one.score, found.score)
            ):
                found = one
        return found


class SearchListener(ProgressListener, Protocol):
    """Who looks on while a search runs."""

    def search(
        self, what: str, trials: int, parallel: int, objective: Objective, within_s: float | None = None
    ) -> None:  # fmt: skip
        """The search begins: up to `trials` trials, `parallel` at once, ended after `within_s` seconds."""

    def trials(
        self, running: Sequence[RunningTrial], finished: int, stopped: int, best: float | None
    ) -> None:
        """Something moved."""

    def trial(self, trial: Trial, best: bool) -> None:
        """A trial has ended; `best` says that it is the best so far."""


@dataclass
class QuietSearch:
    """A SearchWatcher that keeps what it is told about trials, and shows nothing."""

    ended: list[Trial] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def message(self, text: str) -> None:
        """Keep it."""
        self.said.append(text)

    def download(self, name: str, done: int, total: int | None) -> None:
        """Show nothing."""

    def training_started(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Show nothing."""

    def step(self, epoch: int, done: int, steps: int) -> None:
        """Show nothing."""

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: int, seconds: float) -> None:
        """Show nothing."""

    def stage(self, what: str) -> None:
        """Show nothing."""

    def search(
        self, what: str, trials: int, parallel: int, objective: Objective, within_s: float | None = None
    ) -> None:  # fmt: skip
        """Show nothing."""

    def trials(
        self, running: Sequence[RunningTrial], finished: int, stopped: int, best: float | None
    ) -> None:
        """Show nothing."""

    def trial(self, trial: Trial, best: bool) -> None:
        """Keep it."""
        self.ended.append(trial)
