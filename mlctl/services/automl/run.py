"""One race from its parent run to the logged model: fits models while there is time, then blends them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlctl.adapters.runlog.journal import read_about
from mlctl.adapters.runlog.local_runs import folder_of
from mlctl.adapters.runlog.recorder import PATIENCE_S, Recorder, now_ms, open_store
from mlctl.adapters.runlog.search_journal import SearchJournal
from mlctl.adapters.runlog.trial_runs import TrialRuns
from mlctl.adapters.system import provenance
from mlctl.domain.automl import Automl, LeaderboardEntry
from mlctl.domain.run import Run
from mlctl.domain.tune import SearchListener
from mlctl.errors import ChildFailedError, Interrupted, MlctlError
from mlctl.services.automl import blend, features, fitting, metrics, models
from mlctl.services.automl.finalizer import INTERRUPTED, Finalizer
from mlctl.services.automl.fitting import MORE_ROWS, OutOfTime
from mlctl.services.automl.interrupts import Interrupts
from mlctl.services.automl.leaderboard import Leaderboard
from mlctl.services.automl.lightgbm_search import MOST, Search
from mlctl.services.automl.model_cache import ModelCache
from mlctl.services.automl.models import HISTOGRAM, LIGHTGBM, NETWORK, Spec
from mlctl.services.automl.table import Table, centred
from mlctl.services.automl.time_budget import TimeBudget
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.training import report
from mlctl.services.training.request import Request
from mlctl.services.training.run_status import finished, recording
from mlctl.services.training.training import Training
from mlctl.services.workflows.automl import AUTOML, AutomlJob, request_entry
from mlctl.services.workflows.tune import KIND_TAG
from mlctl.settings import Settings

TIME_IS_UP, ALL_TRIED = "time was up", "everything was tried"
FOLDS, SMALL = 5, 2500  # below so many rows, a fifth of them is too few to choose by
WORTH_BEGINNING = 0.15  # of the time must be left for a model that nothing useful stops

Entries = Sequence[Mapping[str, Any]]


class AutomlRun:
    """One race, new or (with `run` and its journal's `entries`) gone on with."""

    def __init__(
        self, settings: Settings, asked: AutomlJob, prepared: PreparedData, listener: SearchListener, started: float,
        run: Run | None, entries: Entries,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.asked = asked
        self.request = asked.request
        self.prepared = prepared
        self.data = prepared.data
        self.centred, self.offset = centred(self.data)
        self.listener = listener
        self.resumed = run
        self.entries = entries
        spent = sum(entry["seconds"] for entry in entries if entry["kind"] == "end")
        timeout = self.request.timeout_s
        self.clock = TimeBudget(started, max(timeout - spent, timeout / 4))
        self.objective = metrics.objective(
            self.request.metric, prepared.recipe.objective, len(self.data.classes)
        )
        request = Request(self.request.source, {}, self.request.data, self.request.rows, self.request.seed,
                          run_name=self.request.run_name, tags=self.request.tags)  # fmt: skip
        self.training = Training(settings, request, prepared, listener, None)

    def run(self) -> Automl:
        """Fit, blend, log; return the leaderboard and the run."""
        recorder = self._recorder()
        with (
            contextlib.closing(SearchJournal(recorder.journal.folder)) as journal,
            recording(recorder, lambda: "interrupted before a model was logged; what was fitted is kept"),
        ):
            leaderboard, ended = self._recorded(recorder, journal)
        run = finished(recorder, self.listener, "KILLED" if ended == INTERRUPTED else "FINISHED")
        if ended == INTERRUPTED:
            raise Interrupted(
                f"interrupted; the best so far is logged: {run.model_uri}",
                f"go on: mlctl resume {recorder.run_id[:8]}",
            )
        return Automl(run, self.objective, leaderboard, ended)

    def _recorder(self) -> Recorder:
        if self.resumed:
            folder = folder_of(self.settings.state_dir, self.resumed.run_id)
            return Recorder.reopen(folder, self.listener, read_about(folder), self.settings.tracking_uri)
        recorder = self.training.recorder({KIND_TAG: AUTOML, "mlctl.objective": str(self.objective)})
        self.training.describe(recorder)
        return recorder

    def _recorded(
        self, recorder: Recorder, journal: SearchJournal
    ) -> tuple[tuple[LeaderboardEntry, ...], str]:
        if not self.entries:
            journal.add(AUTOML, request=request_entry(self.request))
        journal.add("sitting", at=now_ms())
        store, experiment = open_store(self.settings.tracking_uri), recorder.journal.about["experiment_id"]
        runs = TrialRuns(store, experiment, recorder.run_id, self._model_tags(), recorder.journal.folder,
                         self._tell, "")  # fmt: skip
        try:
            if self.resumed:
                runs.find()
            self.listener.stage("making features")
            board = Leaderboard(
                self._table(),
                self.objective,
                runs,
                ModelCache(recorder.journal.folder, journal),
                self.listener,
            )
            ended = self._fit_all(board)
            if not board.fitted:
                raise ChildFailedError(  # noqa: TRY301 - it ends the race as any failure in here does
                    f"no model was fitted ({ended})", "give it more time, or other --families"
                )
            with Interrupts(noted=ended == INTERRUPTED) as interrupts:
                shares, reached = self._blended(board)
                chosen = {name: board.fitted[name] for name in shares}
                ending = Finalizer(
                    self.asked, self.data, board.table, self.objective, self.listener, self.clock, self._sitting,
                    interrupts,
                )  # fmt: skip
                leaderboard = board.leaderboard(recorder.run_id, shares, reached)
                ending.log(recorder, chosen, shares, reached, leaderboard, ended)
                runs.finish(PATIENCE_S)  # what is unsent then stays with the run's record, for mlctl sync
        except BaseException:
            runs.finish(1.0)
            raise
        leaderboard = board.leaderboard(recorder.run_id, shares, reached)  # now with the runs' ids
        return leaderboard, INTERRUPTED if interrupts.noted else ended

    def _blended(self, board: Leaderboard) -> tuple[dict[str, float], dict[str, float]]:
        """Return each model's share, and what the judging rows say of the whole."""
        answers = {name: one.answers for name, one in board.fitted.items()}
        table = board.table
        shares = blend.weights(
            answers, table.judged, self.objective.metric.removeprefix("val_"), table.classes
        )
        reached = board.measured(np.sum([share * answers[name] for name, share in shares.items()], axis=0))
        if alone := board.better_alone(reached):  # weights are by a smoother measure than, say, f1
            self.listener.message(f"{alone.model} alone does better than the blend, and is logged")
            return {alone.model: 1.0}, dict(alone.metrics)
        return shares, reached

    # -- fitting ------------------------------------------------------------------------------------------

    def _fit_all(self, board: Leaderboard) -> str:
        """Fit models until time is up or nothing is left; Ctrl-C ends it once there is one."""
        known = {entry["trial"] for entry in self.entries if entry["kind"] == "end"}
        for fitted, entry in board.kept.again(self.entries):
            board.again(fitted, entry)
        try:
            specs = self._line_up()
            if board.table.folds:
                self.listener.message(
                    f"{len(board.table.judged):,} rows are few: val_ metrics are of {FOLDS} folds of them"
                )
            self.listener.search(
                f"{self.asked.recipe.name} for {self.request.timeout_s:g} s",
                len(specs) + (MOST if self._searches else 0), 1, self.objective, self.clock.left,
            )  # fmt: skip
            skipped = False  # for want of time; a quicker model may still have room
            for spec in specs:
                if spec.name in known:
                    continue
                if self._has_time(board, spec):
                    self._fit_one(board, spec)
                else:
                    skipped = True
            return TIME_IS_UP if skipped else self._search(board, known)
        except KeyboardInterrupt:
            if not board.fitted:
                raise
            return INTERRUPTED

    def _search(self, board: Leaderboard, known: set[str]) -> str:
        boosters = [one for one in board.best if one.family == LIGHTGBM]
        if not self._searches or not boosters:
            return ALL_TRIED
        # of the line-up's alone: what an earlier sitting has searched is asked for again, and known
        base = next((one.model for one in boosters if not one.model[-2:].isdigit()), boosters[0].model)
        fixed = self.asked.fixed.get(LIGHTGBM, {})
        search = Search(board.fitted[base].spec, fixed, self.objective, self.request.seed)
        while (spec := search.ask()) is not None:
            if spec.name not in known:
                if not self._has_time(board, spec):
                    return TIME_IS_UP
                self._fit_one(board, spec)
            found = board.ranked.get(spec.name)
            search.tell(found.score if found else None)
        return ALL_TRIED

    @property
    def _searches(self) -> bool:
        return LIGHTGBM in self.asked.families

    def _has_time(self, board: Leaderboard, spec: Spec) -> bool:
        """Whether a model may begin: there is time for it, and for fitting the blend on all rows afterwards."""
        alike = [one.seconds for one in board.fitted.values() if one.spec.family == spec.family]
        wanted = 0.6 * alike[-1] if alike else 0.0
        if spec.family == HISTOGRAM or (spec.family == NETWORK and board.table.folds):
            wanted = max(wanted, WORTH_BEGINNING * self.clock.timeout_s)
        return self.clock.left - self._refits(board) > wanted or not board.fitted

    def _refits(self, board: Leaderboard) -> float:
        """Return what is kept for fitting the best models again, on all rows."""
        if board.table.folds:
            return 0.0
        return self.clock.for_refits(MORE_ROWS * one.duration_s for one in board.best[: blend.MOST // 2])

    def _fit_one(self, board: Leaderboard, spec: Spec) -> None:
        board.begin(spec)
        try:
            # something must come of it, however little of the time imports have left
            until = self.clock.until(self._refits(board), none_yet=not board.fitted)
            board.done(
                fitting.fit(spec, board.table, until, lambda rounds, value: board.tick(spec, rounds, value))
            )
        except KeyboardInterrupt:
            board.stopped(spec, INTERRUPTED)
            raise
        except OutOfTime as stop:
            board.stopped(spec, str(stop))
        except Exception as error:
            board.failed(spec, error)

    def _table(self) -> Table:
        data, seed = self.centred, self.request.seed
        plain = not self.request.featurize
        made = features.as_it_is(data) if plain else features.featurized(data, self.prepared.encoder, seed)
        if made.ratios:
            self.listener.message(f"ratios that help: {', '.join(made.ratios)}")
        train, validation = (made.encoder(split.inputs) for split in (data.train, data.validation))
        return Table(
            self.asked.recipe, data, made, train, validation, seed, self.objective, self._folds, self.offset
        )  # fmt: skip

    @property
    def _folds(self) -> int:
        """In how many folds rows are judged: none where there are many, or where rows belong together."""
        rows = len(self.data.train) + len(self.data.validation)
        tied = any(self.asked.values.get(name) for name in ("group", "time"))
        return FOLDS if rows < SMALL and not tied else 0

    def _line_up(self) -> list[Spec]:
        data = self.centred
        targets = data.train.targets
        positive = not data.classes and bool(min(targets.min(), data.validation.targets.min()) > 0)
        specs = models.line_up(
            self.asked.recipe, data.task, positive, len(targets), self.asked.families, self.asked.fixed,
            self.objective.metric[4:],
        )  # fmt: skip
        own = dict(self.asked.values)  # what was set on the recipe is its network's
        declared = self.asked.recipe.declared()
        given = {name: own[name] for name in self.request.given if name in own and not declared[name].data}
        return [
            replace(one, params={**given, **one.params}) if one.family == NETWORK else one for one in specs
        ]

    # -- what is recorded ---------------------------------------------------------------------------------

    @property
    def _sitting(self) -> int:
        return sum(entry["kind"] == "sitting" for entry in self.entries)

    def _model_tags(self) -> dict[str, Any]:
        return {
            "mlflow.user": provenance.user(),
            "mlflow.source.name": "mlctl automl",
            "mlflow.source.type": "LOCAL",
            "mlctl.recipe": self.asked.recipe.name,
            "mlctl.objective": str(self.objective),
            **report.data_tags(self.prepared.reference),
        }

    def _tell(self, error: MlctlError) -> None:
        self.listener.message(f"{error.message}; it goes on, and its journal keeps every model")
