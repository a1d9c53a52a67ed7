"""What has become of every model of a race: fitted, stopped, failed; kept on disk, recorded, told, ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mlctl.adapters.runlog.recorder import now_ms
from mlctl.adapters.runlog.trial_runs import TrialRuns
from mlctl.domain.automl import BLEND, LeaderboardEntry
from mlctl.domain.objective import Objective
from mlctl.domain.tune import DONE, FAILED, STOPPED, RunningTrial, SearchListener, Trial
from mlctl.errors import ChildFailedError, MlctlError
from mlctl.services.automl import metrics
from mlctl.services.automl.fitting import Fitted
from mlctl.services.automl.model_cache import ModelCache
from mlctl.services.automl.models import Spec
from mlctl.services.automl.table import Table

MOST_FAILURES = 3  # in a row, and nothing fitted: then it is not the models that are at fault
SHOWN = ("loss", "learning_rate", "num_leaves", "units")  # the few values that tell a model from its like


class Leaderboard:
    """The models of one race, by name."""

    def __init__(
        self, table: Table, objective: Objective, runs: TrialRuns, kept: ModelCache, listener: SearchListener
    ) -> None:
        self.table = table
        self.objective = objective
        self.runs = runs
        self.kept = kept
        self.listener = listener
        self.fitted: dict[str, Fitted] = {}
        self.ranked: dict[str, LeaderboardEntry] = {}
        self._failures = 0

    @property
    def best(self) -> list[LeaderboardEntry]:
        """The models that have a score, best first."""
        return sorted((one for one in self.ranked.values() if one.score is not None), key=self._place)

    def measured(self, answers: Any) -> dict[str, float]:
        """Return every metric of answers (n, k) for the rows that models are judged by."""
        found = metrics.measured(self.table.judged, answers, self.table.classes, self.table.span)
        return {f"val_{name}": value for name, value in found.items()}

    def better_alone(self, reached: Mapping[str, float]) -> LeaderboardEntry | None:
        """Return the best model where it beats a blend that has `reached` this, by the metric asked for."""
        best = self.best[0]
        assert best.score is not None
        return best if self.objective.better(best.score, reached[self.objective.metric]) else None

    def begin(self, spec: Spec) -> None:
        """A model is about to be fitted."""
        self.runs.begin(spec.name, spec.told, now_ms())
        self.tick(spec, 0, None)

    def tick(self, spec: Spec, rounds: int, value: float | None) -> None:
        """Tell how far a model is."""
        most = int(spec.params.get("rounds") or spec.params.get("n_estimators") or 0)
        best = self.best
        self.listener.trials(
            [RunningTrial(spec.name, rounds, most, value)],
            len(self.ranked),
            0,
            best[0].score if best else None,
        )

    def done(self, fitted: Fitted) -> None:
        """Keep a model that was fitted; raises ChildFailedError where its score is no number."""
        found = self.measured(fitted.answers)
        score = found.get(self.objective.metric, float("nan"))
        if not np.isfinite(score):
            raise ChildFailedError(f"its {self.objective.metric} is {score}")
        self._failures = 0
        self.kept.add(fitted, score, found, now_ms())
        self._note(fitted, score, found)
        self._record(fitted, found, now_ms())

    def again(self, fitted: Fitted, entry: Mapping[str, Any]) -> None:
        """Take over a model that an earlier sitting has fitted."""
        self._note(fitted, entry["score"], entry["metrics"])
        if fitted.spec.name not in self.runs.ended:
            self._record(fitted, entry["metrics"], entry["at"])

    def stopped(self, spec: Spec, why: str) -> None:
        """A model was stopped before it had a score; the journal does not know it, and resume begins it again."""
        tags = {"mlctl.state": STOPPED, "mlctl.why": why}
        self.runs.end(spec.name, "KILLED", {}, 0, tags, now_ms())
        self.ranked[spec.name] = LeaderboardEntry(
            spec.name, spec.family, "", STOPPED, params=spec.told, why=why
        )
        self.listener.trial(Trial(spec.name, "", STOPPED, _shown(spec), why=why), False)

    def failed(self, spec: Spec, error: Exception) -> None:
        """A model could not be fitted; raises ChildFailedError after some in a row."""
        why = error.message if isinstance(error, MlctlError) else f"{type(error).__name__}: {error}"
        why = " ".join(why.split())[:300]
        self.runs.end(spec.name, "FAILED", {}, 0, {"mlctl.state": FAILED, "mlctl.error": why}, now_ms())
        self.kept.failed(spec, why, now_ms())
        self.ranked[spec.name] = LeaderboardEntry(
            spec.name, spec.family, "", FAILED, params=spec.told, why=why
        )
        self.listener.trial(Trial(spec.name, "", FAILED, _shown(spec), why=why), False)
        self._failures += 1
        if self._failures >= MOST_FAILURES and not self.fitted:
            raise ChildFailedError(
                f"{self._failures} models in a row failed; the last: {why}", "mlctl runs list shows all"
            )

    def leaderboard(
        self, blend_run: str, shares: Mapping[str, float], reached: Mapping[str, float]
    ) -> tuple[LeaderboardEntry, ...]:
        """Return all models and their blend, best first, those without a score last."""
        whole = LeaderboardEntry(BLEND, BLEND, blend_run, DONE, reached[self.objective.metric], reached)
        every = [
            replace(one, run_id=self.runs.ids.get(name, ""), weight=shares.get(name, 0.0))
            for name, one in self.ranked.items()
        ]
        # of equals the blend comes first: it is what is logged
        return tuple(sorted([whole, *every], key=lambda one: (one.score is None, self._place(one))))

    def _place(self, one: LeaderboardEntry) -> float:
        score = one.score or 0.0
        return -score if self.objective.maximize else score

    def _note(self, fitted: Fitted, score: float, found: Mapping[str, float]) -> None:
        spec, best = fitted.spec, self.best
        leads = not best or self.objective.better(score, best[0].score or 0.0)
        self.fitted[spec.name] = fitted
        self.ranked[spec.name] = LeaderboardEntry(
            spec.name, spec.family, "", DONE, score, found, spec.told, fitted.rounds, fitted.seconds
        )
        trial = Trial(spec.name, "", DONE, _shown(spec), score, fitted.rounds, fitted.seconds)
        self.listener.trial(trial, leads)

    def _record(self, fitted: Fitted, found: Mapping[str, float], at: int) -> None:
        name = fitted.spec.name
        self.runs.begin(name, fitted.spec.told, at)
        values = {f"best_{metric}": value for metric, value in found.items()}
        values |= {"rounds": fitted.rounds, "fit_s": round(fitted.seconds, 3)}
        self.runs.end(name, "FINISHED", values, 0, {"mlctl.state": DONE}, at)


def _shown(spec: Spec) -> dict[str, Any]:
    return {name: value for name, value in spec.told.items() if name in SHOWN}
