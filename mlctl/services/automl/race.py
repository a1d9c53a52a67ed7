"""One race from its parent run to the logged model: fits models while there is time, then blends them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlctl.adapters import environment
from mlctl.adapters.journal import read_about
from mlctl.adapters.recorder import PATIENCE_S, Recorder, now_ms, open_store
from mlctl.adapters.records import folder_of
from mlctl.adapters.search_journal import SearchJournal
from mlctl.adapters.tracking import Store
from mlctl.adapters.trial_runs import TrialRuns
from mlctl.domain import Run
from mlctl.domain.automl import BLEND, Automl, Ranked
from mlctl.domain.tune import DONE, FAILED, STOPPED, Running, SearchWatcher, Trial
from mlctl.errors import ChildFailedError, Interrupted, MlctlError
from mlctl.services.automl import blend, features, fitting, metrics, models
from mlctl.services.automl.automl import AUTOML, Asked, request_entry
from mlctl.services.automl.clock import Clock
from mlctl.services.automl.ending import Ending
from mlctl.services.automl.fitting import MORE_ROWS, Fitted, OutOfTime
from mlctl.services.automl.keeping import Kept
from mlctl.services.automl.models import HISTOGRAM, LIGHTGBM, NETWORK, Spec
from mlctl.services.automl.search import MOST, Search
from mlctl.services.automl.table import Table
from mlctl.services.training import report
from mlctl.services.training.prepare import Prepared
from mlctl.services.training.request import Request
from mlctl.services.training.training import Training, terminated_as_interrupted
from mlctl.services.tuning.tune import KIND_TAG
from mlctl.settings import Settings

TIME_IS_UP, ALL_TRIED, INTERRUPTED = "time was up", "everything was tried", "interrupted"
MOST_FAILURES = 3
FOLDS, SMALL = 5, 2500  # below so many rows, a fifth of them is too few to choose by
WORTH_BEGINNING = 0.15  # of the time must be left for a model that cannot be stopped

Entries = Sequence[Mapping[str, Any]]


class Race:
    """One race, new or (with `run` and its journal's `entries`) gone on with."""

    def __init__(
        self, settings: Settings, asked: Asked, prepared: Prepared, watcher: SearchWatcher, began: float,
        run: Run | None, entries: Entries,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.asked = asked
        self.request = asked.request
        self.prepared = prepared
        self.data = prepared.data
        self.watcher = watcher
        self.resumed = run
        self.entries = entries
        spent = sum(entry["seconds"] for entry in entries if entry["kind"] == "end")
        timeout = self.request.timeout_s
        self.clock = Clock(began, max(timeout - spent, timeout / 4))
        self.objective = metrics.objective(
            self.request.metric, prepared.recipe.objective, len(self.data.classes)
        )
        request = Request(self.request.source, {}, self.request.data, self.request.rows, self.request.seed,
                          run_name=self.request.run_name, tags=self.request.tags)  # fmt: skip
        self.training = Training(settings, request, prepared, watcher, None)
        self.fitted: dict[str, Fitted] = {}
        self.ranked: dict[str, Ranked] = {}
        self._failures = 0

    def run(self) -> Automl:
        """Fit, blend, log; return the leaderboard and the run."""
        recorder = self._recorder()
        journal = SearchJournal(recorder.journal.folder)
        try:
            with terminated_as_interrupted():
                leaderboard, ended = self._recorded(recorder, journal)
        except KeyboardInterrupt:
            recorder.finish("KILLED")
            raise Interrupted(
                "interrupted before there was a model; what was fitted is kept",
                f"go on: mlctl resume {recorder.run_id[:8]}",
            ) from None
        except BaseException as error:
            with contextlib.suppress(MlctlError):  # a record that cannot be written is what failed
                recorder.tags({"mlctl.error": f"{type(error).__name__}: {error}"[:500]})
                recorder.finish("FAILED")
            raise
        finally:
            journal.close()
        if unsent := recorder.finish("KILLED" if ended == INTERRUPTED else "FINISHED"):
            self.watcher.say(f"{unsent} records are unsent and kept in {recorder.journal.folder}")
        if ended == INTERRUPTED:
            raise Interrupted(
                f"interrupted; the best of {len(self.fitted)} models is logged: {recorder.model_uri}",
                f"go on: mlctl resume {recorder.run_id[:8]}",
            )
        run = Store(self.settings.tracking_uri).run(recorder.run_id)
        return Automl(run, self.objective, leaderboard, ended)

    # -- the parts ----------------------------------------------------------------------------------------

    def _recorder(self) -> Recorder:
        if self.resumed:
            folder = folder_of(self.settings.state_dir, self.resumed.run_id)
            return Recorder.reopen(folder, self.watcher, read_about(folder))
        recorder = self.training.recorder({KIND_TAG: AUTOML, "mlctl.objective": str(self.objective)})
        self.training.describe(recorder)
        return recorder

    def _recorded(self, recorder: Recorder, journal: SearchJournal) -> tuple[tuple[Ranked, ...], str]:
        if not self.entries:
            journal.add(AUTOML, request=request_entry(self.request))
        journal.add("sitting", at=now_ms())
        sitting = sum(entry["kind"] == "sitting" for entry in self.entries)
        store, experiment = open_store(self.settings.tracking_uri), recorder.journal.about["experiment_id"]
        runs = TrialRuns(store, experiment, recorder.run_id, self._model_tags(), self._tell, "")
        try:
            if self.resumed:
                runs.find()
            ended = self._fit_all(runs, Kept(recorder.journal.folder, journal))
            if not self.fitted:
                raise ChildFailedError(  # noqa: TRY301 - it ends the race as any failure in here does
                    f"no model was fitted ({ended})", "give it more time, or other --families"
                )
            wanted, found = self.table.judged, len(self.data.classes)
            shares = blend.weights(
                {name: one.answers for name, one in self.fitted.items()},
                wanted,
                self.objective.metric[4:],
                found,
            )
            ending = Ending(self.asked, self.prepared, self.table, self.objective, self.watcher, self.clock)
            blended = np.sum([share * self.fitted[name].answers for name, share in shares.items()], axis=0)
            reached = {f"val_{k}": v for k, v in metrics.measured(wanted, blended, found, self.span).items()}
            leaderboard = self._leaderboard(runs, recorder.run_id, shares, reached)
            chosen = {name: self.fitted[name] for name in shares}
            ending.log(recorder, chosen, shares, reached, leaderboard, ended, refits=ended != INTERRUPTED and not self.table.folds, sitting=sitting,
                       span=self.span)  # fmt: skip
            if not runs.finish(PATIENCE_S):
                self.watcher.say(f"some models' runs are unsent; the journal has them: {journal.path}")
            leaderboard = self._leaderboard(runs, recorder.run_id, shares, reached)
        except BaseException:
            runs.finish(1.0)
            raise
        return leaderboard, ended

    @property
    def span(self) -> float:
        """The range of all known targets; 1 for classes."""
        if self.data.classes:
            return 1.0
        known = np.concatenate((self.data.train.targets, self.data.validation.targets))
        return float(known.max() - known.min()) or 1.0

    # -- fitting ------------------------------------------------------------------------------------------

    def _fit_all(self, runs: TrialRuns, kept: Kept) -> str:
        """Fit models until time is up or nothing is left; Ctrl-C ends it once there is one."""
        known = {entry["trial"] for entry in self.entries if entry["kind"] == "end"}
        for fitted, entry in kept.again(self.entries):
            self._note(runs, fitted, entry["score"], entry["metrics"])
            if fitted.spec.name not in runs.ended:
                self._record_end(runs, fitted, entry["metrics"], entry["at"])
        try:
            self.watcher.stage("making features")
            self.table = self._table()
            specs = self._line_up()
            searched = MOST if self._searches else 0
            if self.table.folds:
                self.watcher.say(
                    f"{len(self.table.judged):,} rows are few: val_ metrics are of {FOLDS} folds of them"
                )
            self.watcher.search(
                f"{self.asked.recipe.name} for {self.request.timeout_s:g} s",
                len(specs) + searched,
                1,
                self.objective,
            )
            skipped = False  # for want of time; a quicker model may still fit in
            for spec in specs:
                if spec.name in known:
                    continue
                if self._has_time(spec):
                    self._fit_one(spec, runs, kept)
                else:
                    skipped = True
            return TIME_IS_UP if skipped else self._search(runs, kept, known)
        except KeyboardInterrupt:
            if not self.fitted:
                raise
            return INTERRUPTED

    def _search(self, runs: TrialRuns, kept: Kept, known: set[str]) -> str:
        boosters = [one for one in self.ranked.values() if one.family == LIGHTGBM and one.score is not None]
        if not self._searches or not boosters:
            return ALL_TRIED
        sign = -1 if self.objective.maximize else 1
        base = min(boosters, key=lambda one: sign * (one.score or 0.0)).model
        search = Search(
            self.fitted[base].spec, self.asked.fixed.get(LIGHTGBM, {}), self.objective, self.request.seed
        )
        while (spec := search.ask()) is not None:
            if spec.name not in known:
                if not self._has_time(spec):
                    return TIME_IS_UP
                self._fit_one(spec, runs, kept)
            found = self.ranked.get(spec.name)
            search.tell(found.score if found else None)
        return ALL_TRIED

    @property
    def _searches(self) -> bool:
        return LIGHTGBM in self.asked.families

    def _has_time(self, spec: Spec) -> bool:
        """Whether a model may begin: there is time for it, and for fitting the blend on all rows afterwards."""
        left = self.clock.left - self._refits
        alike = [one.seconds for one in self.fitted.values() if one.spec.family == spec.family]
        wanted = 0.6 * alike[-1] if alike else 0.0
        if spec.family == HISTOGRAM or (
            spec.family == NETWORK and self.table.folds
        ):  # nothing useful stops it
            wanted = max(wanted, WORTH_BEGINNING * self.clock.timeout_s)
        return left > wanted or not self.fitted

    @property
    def _refits(self) -> float:
        """What is kept for fitting the best models again, on all rows."""
        if self.table.folds:  # they are fitted to all rows already
            return 0.0
        scored = [one for one in self.ranked.values() if one.score is not None]
        scored.sort(key=lambda one: -(one.score or 0.0) if self.objective.maximize else one.score or 0.0)
        return self.clock.for_refits(MORE_ROWS * one.duration_s for one in scored[:5])

    def _fit_one(self, spec: Spec, runs: TrialRuns, kept: Kept) -> None:
        name, done = spec.name, len(self.ranked)
        runs.begin(name, spec.told, now_ms())

        def tick(rounds: int, value: float | None) -> None:
            most = int(spec.params.get("rounds") or spec.params.get("n_estimators") or 0)
            self.watcher.trials([Running(name, rounds, most, value)], done, 0, self._best)

        tick(0, None)
        try:
            fitted = fitting.fit(spec, self.table, self.clock.until(self._refits), tick)
            found = self._measured(fitted)
            score = found[self.objective.metric]
            if not np.isfinite(score):
                raise ChildFailedError(f"its {self.objective.metric} is {score}")  # noqa: TRY301 - as any failure
        except KeyboardInterrupt:
            runs.end(name, "KILLED", {}, 0, {"mlctl.state": STOPPED, "mlctl.why": INTERRUPTED}, now_ms())
            raise
        except OutOfTime as error:  # no line in the journal: resume begins it again
            runs.end(name, "KILLED", {}, 0, {"mlctl.state": STOPPED, "mlctl.why": str(error)}, now_ms())
            self.ranked[name] = Ranked(name, spec.family, "", STOPPED, params=spec.told, why=str(error))
            self.watcher.trial(Trial(name, "", STOPPED, _shown(spec), why=str(error)), False)
            return
        except Exception as error:
            self._failed(spec, runs, kept, error)
            return
        self._failures = 0
        kept.add(fitted, score, found, now_ms())
        self._note(runs, fitted, score, found)
        self._record_end(runs, fitted, found, now_ms())

    def _failed(self, spec: Spec, runs: TrialRuns, kept: Kept, error: Exception) -> None:
        """Record a model that cannot be fitted, and go on; raises ChildFailedError after some in a row."""
        why = error.message if isinstance(error, MlctlError) else f"{type(error).__name__}: {error}"
        why = " ".join(why.split())[:300]
        runs.end(spec.name, "FAILED", {}, 0, {"mlctl.state": FAILED, "mlctl.error": why}, now_ms())
        kept.journal.add(
            "end", trial=spec.name, family=spec.family, state=FAILED, seconds=0.0, why=why, at=now_ms()
        )
        self.ranked[spec.name] = Ranked(spec.name, spec.family, "", FAILED, params=spec.told, why=why)
        self.watcher.trial(Trial(spec.name, "", FAILED, _shown(spec), why=why), False)
        self._failures += 1
        if self._failures == MOST_FAILURES and not self.fitted:
            raise ChildFailedError(
                f"{MOST_FAILURES} models in a row failed; the last: {why}", "mlctl runs list shows all"
            )

    def _note(self, runs: TrialRuns, fitted: Fitted, score: float, found: Mapping[str, float]) -> None:
        best = self._best is None or self.objective.better(score, self._best)
        spec = fitted.spec
        self.fitted[spec.name] = fitted
        self.ranked[spec.name] = Ranked(
            spec.name, spec.family, "", DONE, score, found, spec.told, fitted.rounds, fitted.seconds
        )
        self.watcher.trial(
            Trial(spec.name, "", DONE, _shown(spec), score, fitted.rounds, fitted.seconds), best
        )

    def _record_end(self, runs: TrialRuns, fitted: Fitted, found: Mapping[str, float], at: int) -> None:
        runs.begin(fitted.spec.name, fitted.spec.told, at)
        values = {f"best_{name}": value for name, value in found.items()}
        values |= {"rounds": fitted.rounds, "fit_s": round(fitted.seconds, 3)}
        runs.end(fitted.spec.name, "FINISHED", values, 0, {"mlctl.state": DONE}, at)

    @property
    def _best(self) -> float | None:
        scores = [one.score for one in self.ranked.values() if one.score is not None]
        return (max if self.objective.maximize else min)(scores) if scores else None

    def _measured(self, fitted: Fitted) -> dict[str, float]:
        found = metrics.measured(self.table.judged, fitted.answers, len(self.data.classes), self.span)
        return {f"val_{name}": value for name, value in found.items()}

    def _table(self) -> Table:
        data, seed = self.data, self.request.seed
        plain = not self.request.featurize
        made = features.as_it_is(data) if plain else features.featurized(data, self.prepared.encoder, seed)
        if made.ratios:
            self.watcher.say(f"ratios that help: {', '.join(made.ratios)}")
        train, validation = (made.encoder(split.inputs) for split in (data.train, data.validation))
        return Table(self.asked.recipe, data, made, train, validation, seed, self.objective, self._folds)

    @property
    def _folds(self) -> int:
        """In how many folds rows are judged: none where there are many, or where rows belong together."""
        rows = len(self.data.train) + len(self.data.validation)
        tied = any(self.asked.values.get(name) for name in ("group", "time"))
        return FOLDS if rows < SMALL and not tied else 0

    def _line_up(self) -> list[Spec]:
        targets = self.data.train.targets
        positive = not self.data.classes and bool(min(targets.min(), self.data.validation.targets.min()) > 0)
        specs = models.line_up(
            self.asked.recipe, self.data.task, positive, len(targets), self.asked.families, self.asked.fixed,
            self.objective.metric[4:],
        )  # fmt: skip
        own = dict(self.asked.values)  # what was set on the recipe is its network's
        declared = self.asked.recipe.declared()
        given = {name: own[name] for name in self.request.given if name in own and not declared[name].data}
        return [
            replace(one, params={**given, **one.params}) if one.family == NETWORK else one for one in specs
        ]

    # -- what is recorded ---------------------------------------------------------------------------------

    def _leaderboard(
        self, runs: TrialRuns, parent: str, shares: Mapping[str, float], reached: Mapping[str, float]
    ) -> tuple[Ranked, ...]:
        """Return all models and their blend, best first, failed ones last."""
        whole = Ranked(BLEND, BLEND, parent, DONE, reached[self.objective.metric], reached)
        every = [
            replace(one, run_id=runs.ids.get(one.model, ""), weight=shares.get(one.model, 0.0))
            for one in self.ranked.values()
        ]
        sign = -1 if self.objective.maximize else 1
        # of equals the blend comes first: it is what is logged
        return tuple(sorted([whole, *every], key=lambda one: (one.score is None, sign * (one.score or 0.0))))

    def _model_tags(self) -> dict[str, Any]:
        return {
            "mlflow.user": environment.user(),
            "mlflow.source.name": "mlctl automl",
            "mlflow.source.type": "LOCAL",
            "mlctl.recipe": self.asked.recipe.name,
            "mlctl.objective": str(self.objective),
            **report.data_tags(self.prepared.reference),
        }

    def _tell(self, error: MlctlError) -> None:
        self.watcher.say(f"{error.message}; it goes on, and its journal keeps every model")


_SHOWN = ("loss", "learning_rate", "num_leaves", "units")


def _shown(spec: Spec) -> dict[str, Any]:
    """Return the few values that tell a model from its like."""
    return {name: value for name, value in spec.told.items() if name in _SHOWN}
