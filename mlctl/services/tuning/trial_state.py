"""The state of one trial: its epochs, and their results over its executions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch
from mlctl.domain.selection import best_epoch
from mlctl.domain.tune import RUNNING, Trial


@dataclass(kw_only=True)
class TrialState:
    """A trial that the oracle asked for.

    Attributes:
        trial: its name.
        values: its hyperparameters.
        executions: trainings of it; their mean counts.
        epochs: the most epochs of an execution, once it runs.
        attempt: counts the times that it was started.
        losses: counts the times that its process or node died.
        state: "" before it runs, then running, done, stopped or failed.
        val_loss: mean over executions of the best epoch's validation loss; it decides near-ties of scores.
        rows: number of rows that the score is measured on, with those of each execution; 0: unknown.
        reason: why it was stopped or failed.
        reported: number of epochs whose means were sent to the trial's run.
        stop_reason: why it should stop, once that is decided.
        curves: the epochs of each execution of the last attempt; executions are counted from 1.
        end_metrics: what a script has measured at its end, such as on test data; it is a score if no epoch has one.

    """

    trial: str
    values: Mapping[str, Any]
    executions: int
    epochs: int = 0
    attempt: int = 0
    losses: int = 0
    state: str = ""
    reason: str = ""
    score: float | None = None
    val_loss: float | None = None
    rows: int = 0
    seconds: float = 0.0
    reported: int = 0
    stop_reason: str = ""
    curves: dict[int, list[Epoch]] = field(default_factory=dict)
    end_metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in {"", RUNNING}

    def begin(self, attempt: int) -> None:
        """Start an attempt; forget what an earlier one reached."""
        self.attempt, self.state, self.stop_reason = attempt, RUNNING, ""
        self.curves, self.end_metrics = {}, {}

    def add(self, execution: int, epoch: Epoch) -> None:
        """Add an epoch of an execution."""
        self.curves.setdefault(execution, []).append(epoch)

    def means(self) -> list[tuple[int, dict[str, float]]]:
        """Return (epoch, mean metrics) for each epoch that all executions have finished.

        When the trial has ended, an epoch that only some executions have counts as well.
        """
        curves = list(self.curves.values())
        complete = len(curves) == self.executions or not self.is_open
        if not curves or not complete:
            return []
        count = min(map(len, curves)) if self.is_open else max(map(len, curves))
        points = []
        for index in range(count):
            epochs = [curve[index] for curve in curves if len(curve) > index]
            points.append((epochs[0].number, _mean_metrics(epochs)))
        return points

    def best_epochs(self, objective: Objective) -> list[Epoch]:
        """Return each execution's best epoch, of those that measure the objective."""
        best = (best_epoch(curve, objective) for curve in self.curves.values())
        return [epoch for epoch in best if epoch is not None]

    def mean_score(self, objective: Objective) -> float | None:
        """Return the mean over executions of the best epoch's objective, or what was measured at the end; else None."""
        if best := self.best_epochs(objective):
            return statistics.fmean(epoch.metrics[objective.metric] for epoch in best)
        return self.end_metrics.get(objective.metric)

    def rate(self, objective: Objective) -> None:
        """Set the score, and what decides between it and near-ties."""
        self.score = self.mean_score(objective)
        best = self.best_epochs(objective)
        metrics = _mean_metrics(best) if best else self.end_metrics
        rows = [epoch.validation_rows for epoch in best]
        self.val_loss = metrics.get("val_loss")
        # the mean of several executions varies less: each counts its rows
        self.rows = sum(rows) if all(rows) else 0

    def measured(self) -> list[str]:
        """Return the names of all metrics."""
        curves = [epoch.metrics for curve in self.curves.values() for epoch in curve]
        return list(dict.fromkeys(name for metrics in (*curves, self.end_metrics) for name in metrics))

    def summary(self, objective: Objective) -> dict[str, float]:
        """Return the metrics of the best epochs, under the names that a run's summary uses."""
        best = self.best_epochs(objective)
        if not best:
            return dict(self.end_metrics)
        metrics = {
            f"best_{name}": value for name, value in _mean_metrics(best).items() if name.startswith("val_")
        }
        best_epoch = round(statistics.fmean(epoch.number for epoch in best))
        return {"best_epoch": best_epoch, **metrics, **self.end_metrics}

    def result(self, run_id: str) -> Trial:
        """Return the trial as an answer shows it."""
        return Trial(
            trial=self.trial,
            run_id=run_id,
            state=self.state,
            params=self.values,
            score=self.score,
            val_loss=self.val_loss,
            rows=self.rows,
            epochs=max((curve[-1].number for curve in self.curves.values()), default=0),
            duration_s=round(self.seconds, 3),
            reason=self.reason,
        )


def own_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's hyperparameters without hyperband's own entries."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}


def _mean_metrics(epochs: list[Epoch]) -> dict[str, float]:
    """Return the mean of each metric that all epochs have."""
    names = [name for name in epochs[0].metrics if all(name in epoch.metrics for epoch in epochs)]
    return {name: statistics.fmean(epoch.metrics[name] for epoch in epochs) for name in names}
