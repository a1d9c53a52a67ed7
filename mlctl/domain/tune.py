"""Hyperparameter searches: the space, the trials and the result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mlctl.domain.conditions import Condition
from mlctl.domain.hyperband import Bracket
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.selection import Scored, choose

# states of a trial; an interrupted trial was running when its search stopped, and resume starts it again
DONE, STOPPED, FAILED, RUNNING, INTERRUPTED = "done", "stopped", "failed", "running", "interrupted"
RANK = {DONE: 0, STOPPED: 1, RUNNING: 2, INTERRUPTED: 2, "": 2, FAILED: 3}


def count_steps(low: float, high: float, step: float) -> int:
    """Return the number of steps in a range, including its end if a step reaches it: 6 of 0.1 in 0..0.6."""
    return math.floor((high - low) / step + 1e-9)


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One hyperparameter of a search: choices, or a range.

    Attributes:
        default: The recipe's own value; a grid starts there.
        step: Distance of neighbouring values; None for a continuous or logarithmic range.
        integer: Whether values are integers.
        condition: Comparisons of other dimensions of the space, all of which hold if this one counts.
    """

    name: str
    default: Any
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    integer: bool = False
    condition: Condition = ()

    @property
    def size(self) -> float:
        """Number of values; infinite for a continuous range."""
        if self.choices:
            return len(self.choices)
        if self.step and not self.log:
            return count_steps(self.low, self.high, self.step) + 1
        return self.high - self.low + 1 if self.integer else math.inf

    def value_at_step(self, number: int) -> float:
        """Return the value `number` steps above the lowest, without floating-point noise: 0.3, not 3 * 0.1."""
        assert self.step is not None
        return float(f"{self.low + number * self.step:.12g}")

    def all_values(self) -> Sequence[Any]:
        """Return every value in order; call it only if `size` is finite."""
        if self.choices:
            return self.choices
        if self.step and not self.log:
            values = [self.value_at_step(number) for number in range(int(self.size))]
            return [int(value) for value in values] if self.integer else values
        return range(int(self.low), int(self.high) + 1)

    @property
    def text(self) -> str:
        """The dimension as --space accepts it: 16..64:16, 0.0001..0.1:log or rmsprop|adam."""
        if self.choices:
            return "|".join(str(choice) for choice in self.choices)
        tail = ":log" if self.log else f":{self.step:g}" if self.step else ""
        return f"{self.low:g}..{self.high:g}{tail}"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial of a search, with its nested run.

    Attributes:
        score: Mean over the executions of the best epoch's objective; None if there is none.
        val_loss: Mean of the same epochs' validation loss, which decides near-ties of scores; None if there is none.
        rows: Number of rows that the score is measured on; 0: unknown.
        epochs: Number of epochs of one execution.
        reason: Why it was stopped or how it failed.
    """

    trial: str
    run_id: str
    state: str
    params: Mapping[str, Any]
    score: float | None = None
    val_loss: float | None = None
    rows: int = 0
    epochs: int = 0
    duration_s: float = 0.0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A finished search: the parent run, which holds the final model, and all trials, best first."""

    run: Run
    objective: Objective
    trials: tuple[Trial, ...]
    end_reason: str
    best_trial: str | None

    @property
    def run_id(self) -> str:
        """The ID of the parent run."""
        return self.run.run_id


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """What a search would do.

    Attributes:
        fixed: Values that are not searched.
        size: Number of combinations in the space; infinite for a continuous range.
        first_trials: Values of the first trials.
        epochs: Maximum number of epochs of all trials together; 0 if it is not known.
        brackets: Brackets of hyperband; empty for other algorithms.
        commands: Command lines of the first trials of a script.
    """

    recipe: str
    algorithm: str
    objective: Objective
    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Any]
    size: float
    trials: int
    first_trials: tuple[Mapping[str, Any], ...]
    epochs: int = 0
    notes: tuple[str, ...] = ()
    brackets: tuple[Bracket, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A trial that is training; `value` is the objective of its last epoch."""

    trial: str
    epoch: int
    epochs: int
    value: float | None


@dataclass(frozen=True, kw_only=True)
class SearchSnapshot:
    """The current state of a search; trials are in the order in which they started."""

    objective: Objective
    total: int
    running: tuple[RunningTrial, ...]
    ended_trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial | None:
        """The best trial so far."""
        return best_trial(self.ended_trials, self.objective)


class RatedTrial(Protocol):
    """What decides between trials."""

    @property
    def trial(self) -> str:
        """Its name."""

    @property
    def state(self) -> str:
        """Whether it is done, stopped, failed or running."""

    @property
    def score(self) -> float | None:
        """Its objective; None if it has none."""

    @property
    def val_loss(self) -> float | None:
        """Its validation loss; None if it has none."""

    @property
    def rows(self) -> int:
        """Number of rows that the score is measured on; 0: unknown."""


AnyTrial = TypeVar("AnyTrial", bound=RatedTrial)


def rank_trials(trials: Sequence[AnyTrial], objective: Objective) -> list[AnyTrial]:
    """Return trials: the best one, then the others by score; stopped ones after finished ones, then those without.

    Near-ties of the best score are decided by the validation loss, see `mlctl.domain.selection`.
    """

    def key(trial: AnyTrial) -> tuple[int, bool, float, str]:
        score = trial.score if trial.score is not None else 0.0
        return (
            RANK[trial.state],
            trial is not best,
            -score if objective.maximize else score,
            trial.trial,
        )

    best = best_trial(trials, objective)
    return sorted(trials, key=key)


def best_trial(trials: Sequence[AnyTrial], objective: Objective) -> AnyTrial | None:
    """Return the best trial that is done, or that was stopped if none is done; None if there is no score."""
    for state in (DONE, STOPPED):
        rated = [trial for trial in trials if trial.state == state and trial.score is not None]
        if rated:
            rated.sort(key=lambda trial: trial.trial)
            return rated[choose([_scored(trial) for trial in rated], objective)]
    return None


def _scored(trial: RatedTrial) -> Scored:
    score, loss = (math.nan if value is None else value for value in (trial.score, trial.val_loss))
    return Scored(score=score, val_loss=loss, rows=trial.rows)


class SearchListener(ProgressListener, Protocol):
    """Receives the progress of a search."""

    def search_started(
        self,
        what: str,
        *,
        trials: int,
        parallel: int,
        objective: Objective,
        time_limit_s: float | None = None,
    ) -> None:
        """A search starts: up to `trials` trials, `parallel` at once, for at most `time_limit_s` seconds."""

    def trials_updated(
        self, running: Sequence[RunningTrial], *, finished: int, stopped: int, best: float | None
    ) -> None:
        """A trial started, ended or finished an epoch; `best` is the best score so far."""

    def trial_ended(self, trial: Trial, is_best: bool) -> None:
        """A trial ended; `is_best` says whether it is the best so far."""
