"""What a search knows of one trial: its epochs, and what they amount to over its executions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.adapters.keras.training_loop import Epoch
from mlctl.domain.objective import Objective
from mlctl.domain.tune import DONE, FAILED, RUNNING, STOPPED, Trial


@dataclass
class TrialState:
    """A trial that was asked for. `epochs` is the most that it has, once it runs; `curves` holds each execution's epochs, counted from 1, of the last attempt."""

    trial: str
    values: Mapping[str, Any]
    executions: int
    epochs: int = 0
    attempt: int = 0
    losses: int = 0
    state: str = ""
    why: str = ""
    score: float | None = None
    seconds: float = 0.0
    sent: int = 0
    stopping: str = ""
    curves: dict[int, list[Epoch]] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether it has yet to end."""
        return self.state in {"", RUNNING}

    def begin(self, attempt: int) -> None:
        """Forget what an earlier attempt reached."""
        self.attempt, self.state, self.stopping = attempt, RUNNING, ""
        self.curves = {}

    def add(self, execution: int, epoch: Epoch) -> None:
        """Add an epoch of an execution."""
        self.curves.setdefault(execution, []).append(epoch)

    def means(self) -> list[tuple[int, dict[str, float]]]:
        """Return (epoch, metrics) of every epoch that all executions so far begun have had, averaged over them."""
        curves = list(self.curves.values())
        whole = len(curves) == self.executions or not self.open
        if not curves or not whole:
            return []
        numbers = range(max(len(curve) for curve in curves) if not self.open else min(map(len, curves)))
        return [
            (next(c[i].number for c in curves if len(c) > i), _mean([c[i] for c in curves if len(c) > i]))
            for i in numbers
        ]

    def best(self, objective: Objective) -> list[Epoch]:
        """Return each execution's best epoch."""
        found = []
        for curve in self.curves.values():
            best = curve[0]
            for epoch in curve[1:]:
                if objective.better(epoch.metrics[objective.metric], best.metrics[objective.metric]):
                    best = epoch
            found.append(best)
        return found

    def scored(self, objective: Objective) -> float | None:
        """Return the mean over executions of the best epoch's objective."""
        best = self.best(objective)
        return statistics.fmean(one.metrics[objective.metric] for one in best) if best else None

    def summary(self, objective: Objective) -> dict[str, float]:
        """Return what the kept epochs reached, as a run's table shows it."""
        best = self.best(objective)
        if not best:
            return {}
        metrics = {f"best_{name}": value for name, value in _mean(best).items() if name.startswith("val_")}
        return {"best_epoch": round(statistics.fmean(one.number for one in best)), **metrics}

    def result(self, run_id: str) -> Trial:
        """Return the trial as an answer shows it."""
        epochs = max((curve[-1].number for curve in self.curves.values()), default=0)
        return Trial(
            self.trial, run_id, self.state, self.values, self.score, epochs, round(self.seconds, 3), self.why
        )


def ranked(states: list[TrialState], objective: Objective) -> list[TrialState]:
    """Return trials, best first: those that ran to their end, then the stopped, then the others."""
    place = {DONE: 0, STOPPED: 1, RUNNING: 2, "": 2, FAILED: 3}

    def key(one: TrialState) -> tuple[int, float, str]:
        score = one.score if one.score is not None else 0.0
        return place[one.state], -score if objective.maximize else score, one.trial

    return sorted(states, key=key)


def _mean(epochs: list[Epoch]) -> dict[str, float]:
    return {name: statistics.fmean(one.metrics[name] for one in epochs) for name in epochs[0].metrics}
