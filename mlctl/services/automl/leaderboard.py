"""The state of every model of a run: cached on disk, recorded as nested runs, shown to the listener, ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mlctl.adapters.estimators.encoded_table import EncodedTable
from mlctl.adapters.estimators.spec import ModelSpec
from mlctl.adapters.runlog.recorder import now_ms
from mlctl.adapters.runlog.trial_runs import TrialRuns
from mlctl.domain.automl import BLEND, LeaderboardEntry
from mlctl.domain.objective import Objective
from mlctl.domain.selection import Scored, choose
from mlctl.domain.short_texts import describe_error
from mlctl.domain.tags import ERROR_TAG, REASON_TAG, STATE_TAG
from mlctl.domain.tune import DONE, FAILED, STOPPED, RunningTrial, SearchListener, Trial
from mlctl.errors import ChildFailedError
from mlctl.services.automl import metrics
from mlctl.services.automl.fitting import FittedModel
from mlctl.services.automl.model_cache import ModelCache

MAX_FAILURES = 3  # in a row before any model is fitted: then the models are not the cause
CLASS_MEANS = ("precision", "recall", "f1")  # of more than two classes, the mean over the classes
SHOWN_PARAMS = ("loss", "learning_rate", "num_leaves", "units")  # those that distinguish similar models


@dataclass(kw_only=True)
class Leaderboard:
    """The models of one run, by name.

    Attributes:
        table: the rows that models are scored on.
        objective: what models are ranked by.
        runs: records a nested run for each model.
        cache: keeps fitted models on disk.
        listener: is told about every change.
        fitted: fitted models by name.
        entries: one entry for each model that ended, by name.
    """

    table: EncodedTable
    objective: Objective
    runs: TrialRuns
    cache: ModelCache
    listener: SearchListener
    fitted: dict[str, FittedModel] = field(default_factory=dict)
    entries: dict[str, LeaderboardEntry] = field(default_factory=dict)
    _failures: int = 0

    @property
    def ranking(self) -> list[LeaderboardEntry]:
        """Entries of the models that have a score: the best one, then the others by score."""
        return self._ranked([entry for entry in self.entries.values() if entry.score is not None])

    def measure(self, predictions: Any) -> dict[str, float]:
        """Return every `val_` metric of predictions (n, k) for the rows that models are scored on."""
        table = self.table
        values = metrics.measure(table.scored_targets, predictions, table.classes, table.target_range)
        return {f"val_{name}": value for name, value in values.items()}

    def model_better_than(self, blend_metrics: Mapping[str, float]) -> LeaderboardEntry | None:
        """Return the best model if it is better than the blend, else None; log loss decides near-ties."""
        ranking = self.ranking
        best = self._choose([blend_metrics, *(entry.metrics for entry in ranking)])
        return ranking[best - 1] if best else None

    def start_model(self, spec: ModelSpec) -> None:
        """Record that a model is about to be fitted."""
        self.runs.begin(spec.name, spec.logged_params, now_ms())
        self.show_progress(spec, 0)

    def show_progress(self, spec: ModelSpec, rounds: int) -> None:
        """Show how many rounds of a model are fitted."""
        max_rounds = int(spec.params.get("rounds") or spec.params.get("n_estimators") or 0)
        ranking = self.ranking
        self.listener.trials_updated(
            [RunningTrial(trial=spec.name, epoch=rounds, epochs=max_rounds, value=None)],
            finished=len(self.entries),
            stopped=0,
            best=ranking[0].score if ranking else None,
        )

    def add_model(self, fitted: FittedModel) -> None:
        """Add a fitted model; raise ChildFailedError if its score is not finite."""
        values = self.measure(fitted.predictions)
        score = values.get(self.objective.metric, float("nan"))
        if not np.isfinite(score):
            raise ChildFailedError(f"its {self.objective.metric} is {score}")
        self._failures = 0
        self.cache.add(fitted, score, values, at=now_ms())
        self._add_entry(fitted, score, values)
        self._record_run(fitted, values, now_ms())

    def restore_model(self, fitted: FittedModel, journal_entry: Mapping[str, Any]) -> None:
        """Add a model that an earlier session fitted."""
        self._add_entry(fitted, journal_entry["score"], journal_entry["metrics"])
        if fitted.spec.name not in self.runs.ended:
            self._record_run(fitted, journal_entry["metrics"], journal_entry["at"])

    def add_stopped(self, spec: ModelSpec, reason: str, *, duration_s: float) -> None:
        """Add a model that was stopped before it had a score. The journal does not record it: a resumed run fits it."""
        self.runs.end(spec.name, "KILLED", {}, {STATE_TAG: STOPPED, REASON_TAG: reason}, now_ms())
        self._add_without_score(spec, STOPPED, reason, duration_s)

    def add_failed(self, spec: ModelSpec, error: Exception, *, duration_s: float) -> None:
        """Add a model that could not be fitted; raise ChildFailedError after MAX_FAILURES in a row."""
        text = describe_error(error)
        self.runs.end(spec.name, "FAILED", {}, {STATE_TAG: FAILED, ERROR_TAG: text}, now_ms())
        self.cache.add_failure(spec, text, seconds=duration_s, at=now_ms())
        self._add_without_score(spec, FAILED, text, duration_s)
        self._failures += 1
        if self._failures >= MAX_FAILURES and not self.fitted:
            raise ChildFailedError(
                f"{self._failures} models in a row failed; the last error: {text}",
                "mlctl runs list shows all of them",
            )

    def with_blend(
        self, run_id: str, weights: Mapping[str, float], blend_metrics: Mapping[str, float]
    ) -> tuple[LeaderboardEntry, ...]:
        """Return all models and their blend, best first; models without a score are last.

        `run_id` is the run that the blend is logged to.
        """
        blend = LeaderboardEntry(
            model=BLEND,
            family=BLEND,
            run_id=run_id,
            state=DONE,
            score=blend_metrics[self.objective.metric],
            metrics=blend_metrics,
        )
        models = [
            replace(entry, run_id=self.runs.ids.get(name, ""), weight=weights.get(name, 0.0))
            for name, entry in self.entries.items()
        ]
        rated = [entry for entry in models if entry.score is not None]
        # of equal scores, the blend comes first because it is what is logged
        return (
            *self._ranked([blend, *self._ranked(rated)]),
            *(entry for entry in models if entry.score is None),
        )

    def _ranked(self, entries: Sequence[LeaderboardEntry]) -> list[LeaderboardEntry]:
        """Return entries with a score: the best one, then the others by score; equal ones in their order."""
        best = entries[self._choose([entry.metrics for entry in entries])] if entries else None
        sign = -1 if self.objective.maximize else 1
        return sorted(entries, key=lambda entry: (entry is not best, sign * (entry.score or 0.0)))

    def _choose(self, metrics: Sequence[Mapping[str, float]]) -> int:
        rows = self._independent_rows
        return choose([Scored.of(values, self.objective, rows) for values in metrics], self.objective)

    @property
    def _independent_rows(self) -> int:
        """Number of rows whose proportion is as exact as a score.

        A mean over classes is only as exact as the rarest classes let it be. Of k classes with n rows each, the variance
        of the mean of their proportions p is the sum of p * (1 - p) / n, divided by k squared.
        """
        targets, classes = self.table.scored_targets, self.table.classes
        if classes <= 2 or self.objective.metric.removeprefix("val_") not in CLASS_MEANS:
            return len(targets)
        counts = np.unique(targets, return_counts=True)[1]
        return max(1, round(float(len(counts) ** 2 / (1 / counts).sum())))

    def _add_entry(self, fitted: FittedModel, score: float, values: Mapping[str, float]) -> None:
        spec, ranking = fitted.spec, self.ranking
        is_best = not ranking or bool(self._choose([ranking[0].metrics, values]))
        self.fitted[spec.name] = fitted
        self.entries[spec.name] = LeaderboardEntry(
            model=spec.name,
            family=spec.family,
            run_id="",
            state=DONE,
            score=score,
            metrics=values,
            params=spec.logged_params,
            rounds=fitted.rounds,
            duration_s=fitted.seconds,
        )
        trial = Trial(
            trial=spec.name,
            run_id="",
            state=DONE,
            params=_shown_params(spec),
            score=score,
            epochs=fitted.rounds,
            duration_s=fitted.seconds,
        )
        self.listener.trial_ended(trial, is_best)

    def _add_without_score(self, spec: ModelSpec, state: str, reason: str, duration_s: float) -> None:
        self.entries[spec.name] = LeaderboardEntry(
            model=spec.name,
            family=spec.family,
            run_id="",
            state=state,
            params=spec.logged_params,
            duration_s=duration_s,
            reason=reason,
        )
        trial = Trial(
            trial=spec.name,
            run_id="",
            state=state,
            params=_shown_params(spec),
            duration_s=duration_s,
            reason=reason,
        )
        self.listener.trial_ended(trial, False)

    def _record_run(self, fitted: FittedModel, values: Mapping[str, float], at: int) -> None:
        name = fitted.spec.name
        self.runs.begin(name, fitted.spec.logged_params, at)
        summary = {f"best_{metric}": value for metric, value in values.items()}
        summary |= {"rounds": fitted.rounds, "fit_s": round(fitted.seconds, 3)}
        self.runs.end(name, "FINISHED", summary, {STATE_TAG: DONE}, at)


def _shown_params(spec: ModelSpec) -> dict[str, Any]:
    return {name: value for name, value in spec.logged_params.items() if name in SHOWN_PARAMS}
