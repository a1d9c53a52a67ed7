"""One automl run, from its parent run to the logged model: fits models while there is time, then blends them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlctl.adapters.estimators.encoded_table import center_targets
from mlctl.adapters.estimators.spec import HISTOGRAM, LIGHTGBM, NETWORK, ModelSpec
from mlctl.adapters.keras import runtime
from mlctl.adapters.models.onnx_graphs import apply_temperature
from mlctl.adapters.runlog.journal import read_header
from mlctl.adapters.runlog.local_runs import record_folder
from mlctl.adapters.runlog.recorder import PATIENCE_S, Recorder, now_ms
from mlctl.adapters.runlog.search_journal import SearchJournal
from mlctl.adapters.runlog.trial_runs import TrialRuns
from mlctl.adapters.search.lightgbm_search import MAX_TRIALS, LightgbmSearch
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.automl import AutomlResult, LeaderboardEntry
from mlctl.domain.run import Run
from mlctl.domain.tags import AUTOML, KIND_TAG
from mlctl.domain.tune import SearchListener
from mlctl.errors import ChildFailedError, Interrupted, MlctlError
from mlctl.notifications import SEARCH_FINISHED
from mlctl.recipes.tabular import learns_logarithm
from mlctl.services.automl import blend, candidates, fitting, metrics, text_tables
from mlctl.services.automl.encode import encode_table
from mlctl.services.automl.fitting import REFIT_TIME_FACTOR, OutOfTime
from mlctl.services.automl.interrupts import INTERRUPTED, InterruptGuard
from mlctl.services.automl.leaderboard import Leaderboard
from mlctl.services.automl.metrics import BALANCED_ERROR
from mlctl.services.automl.model_cache import ModelCache
from mlctl.services.automl.request import AutomlJob
from mlctl.services.automl.time_budget import TimeBudget
from mlctl.services.evaluation.threshold import ChosenThreshold, choose_threshold
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.training.request import TrainRequest
from mlctl.services.training.run_setup import RunSetup
from mlctl.services.training.run_status import finish_run, recording
from mlctl.settings import Settings

TIME_IS_UP, ALL_TRIED = "time was up", "everything was tried"
MIN_SHARE_TO_START = 0.15  # of the time must be left to start a model that early stopping hardly ever ends

JournalEntries = Sequence[Mapping[str, Any]]


class AutomlRun:
    """One run: a new one, or an earlier one (`resumed_run`, with the entries of its journal) that is resumed."""

    def __init__(
        self,
        settings: Settings,
        store: TrackingStore,
        job: AutomlJob,
        *,
        prepared: PreparedData,
        listener: SearchListener,
        started: float,
        resumed_run: Run | None,
        journal_entries: JournalEntries,
    ) -> None:
        self.settings = settings
        self.store = store
        self.job = job
        self.request = job.request
        self.prepared = prepared
        self.data = prepared.data
        self.centered, self.offset = center_targets(self.data)
        self.listener = listener
        self.resumed_run = resumed_run
        self.journal_entries = journal_entries
        self._has_keras = False
        spent = sum(entry["seconds"] for entry in journal_entries if entry["kind"] == "end")
        timeout = self.request.timeout_s
        self.budget = TimeBudget(started, max(timeout - spent, timeout / 4))
        self.objective = metrics.choose_objective(
            self.request.metric, prepared.objective, len(self.data.classes)
        )
        training_request = TrainRequest(
            source=self.request.source,
            data=self.request.data,
            rows=self.request.rows,
            seed=self.request.seed,
            run_name=self.request.run_name,
            tags=self.request.tags,
        )
        self.setup = RunSetup(
            settings=settings,
            store=store,
            request=training_request,
            prepared=prepared,
            objective=self.objective,
        )

    def run(self) -> AutomlResult:
        """Fit models, blend them and log the blend; return the leaderboard and the run.

        Raises Interrupted after Ctrl-C, once the best blend so far is logged.
        """
        recorder = self._open_recorder()
        with (
            contextlib.closing(SearchJournal(recorder.journal.folder)) as journal,
            recording(
                recorder,
                lambda: "interrupted before a model was logged; fitted models are kept",
                self.settings.notify,
            ),
        ):
            leaderboard, end_reason = self._fit_and_log(recorder, journal)
        run = finish_run(
            recorder,
            self.store,
            self.listener,
            "KILLED" if end_reason == INTERRUPTED else "FINISHED",
            notify=self.settings.notify,
            event=SEARCH_FINISHED,
        )
        if end_reason == INTERRUPTED:
            raise Interrupted(
                f"interrupted; the best model so far is logged: {run.model_uri}",
                f"resume: mlctl resume {recorder.run_id[:8]}",
            )
        self.budget.end_phase("saving and checking")
        return AutomlResult(
            run=run,
            objective=self.objective,
            leaderboard=leaderboard,
            end_reason=end_reason,
            phases=dict(self.budget.phases),
        )

    def _open_recorder(self) -> Recorder:
        if self.resumed_run:
            folder = record_folder(self.settings.state_dir, self.resumed_run.run_id)
            return Recorder.reopen(folder, self.store, header=read_header(folder), listener=self.listener)
        recorder = self.setup.create_run(self.listener, {KIND_TAG: AUTOML})
        self.setup.describe_source(recorder)
        return recorder

    def _fit_and_log(
        self, recorder: Recorder, journal: SearchJournal
    ) -> tuple[tuple[LeaderboardEntry, ...], str]:
        """Return the leaderboard, and why the run ended."""
        if not self.journal_entries:
            journal.add(AUTOML, request=self.request.to_journal())
        journal.add("sitting", at=now_ms())
        runs = TrialRuns(
            self.store,
            experiment_id=recorder.journal.header["experiment_id"],
            parent_id=recorder.run_id,
            folder=recorder.journal.folder,
            tags=self.setup.nested_run_tags("mlctl automl"),
            report_error=self._warn,
            name_prefix="",
        )
        try:
            if self.resumed_run:
                runs.find()
            self.budget.end_phase("reading the data and starting")
            self.listener.stage("encoding features")
            table = encode_table(
                self.job,
                self.prepared,
                self.centered,
                offset=self.offset,
                objective=self.objective,
                report=self.listener.message,
            )
            self.budget.end_phase("features")
            board = Leaderboard(
                table=table,
                objective=self.objective,
                runs=runs,
                cache=ModelCache(recorder.journal.folder, journal),
                listener=self.listener,
            )
            end_reason = self._fit_models(board)
            self.budget.end_phase("models")
            if not board.fitted:
                raise ChildFailedError(  # noqa: TRY301 - it ends the run as any failure here does
                    f"no model was fitted ({end_reason})", "raise --timeout, or choose other --families"
                )
            with InterruptGuard(interrupted=end_reason == INTERRUPTED) as guard:
                self._import_keras()
                with runtime.fast_imports():  # it saves models of Keras, too
                    from mlctl.services.automl.finalizer import Finalizer
                self.budget.end_phase("starting TensorFlow")
                self.setup.describe_machine(recorder)
                weights, temperature, blend_metrics = self._blend(board)
                finalizer = Finalizer(
                    job=self.job,
                    data=self.data,
                    table=board.table,
                    objective=self.objective,
                    listener=self.listener,
                    budget=self.budget,
                    session=sum(entry["kind"] == "sitting" for entry in self.journal_entries),
                    guard=guard,
                    threshold=self._choose_threshold(board, weights, temperature),
                )
                finalizer.log_blend(
                    recorder,
                    models={name: board.fitted[name] for name in weights},
                    weights=weights,
                    temperature=temperature,
                    validation_metrics=blend_metrics,
                    leaderboard=board.with_blend(recorder.run_id, weights, blend_metrics),
                    end_reason=end_reason,
                )
                runs.finish(PATIENCE_S)  # mlctl sync uploads what the store has not accepted by then
        except BaseException:
            runs.finish(1.0)
            raise
        leaderboard = board.with_blend(recorder.run_id, weights, blend_metrics)  # the runs' ids are known now
        return leaderboard, INTERRUPTED if guard.interrupted else end_reason

    def _blend(self, board: Leaderboard) -> tuple[dict[str, float], float, dict[str, float]]:
        """Return the weight of each model, the temperature of their sum, and the metrics of the blend."""
        predictions = {name: model.predictions for name, model in board.fitted.items()}
        table = board.table
        metric = self.objective.metric.removeprefix("val_")
        balances = self._balances_errors(metric)
        weights = blend.blend_weights(
            predictions, table.scored_targets, BALANCED_ERROR if balances else metric, table.classes
        )
        blended = np.sum([weight * predictions[name] for name, weight in weights.items()], axis=0)
        temperature = 1.0
        if table.classes:
            temperature = blend.fit_temperature(blended, table.scored_targets, table.classes)
            blended = blended if temperature == 1.0 else apply_temperature(blended, temperature)
        blend_metrics = board.measure(blended)
        # weights minimize a smoother error than some metrics, such as f1
        if not balances and (single := board.model_better_than(blend_metrics)):
            self.listener.message(f"{single.model} alone is better than the blend, and is logged instead")
            return {single.model: 1.0}, 1.0, dict(single.metrics)
        return weights, temperature, blend_metrics

    def _choose_threshold(
        self, board: Leaderboard, weights: Mapping[str, float], temperature: float
    ) -> ChosenThreshold | None:
        """Return the threshold that the user has asked for, chosen on the rows that models are scored on."""
        rule = self.prepared.threshold_rule
        if rule is None or board.table.classes != 2:
            return None
        blended = np.sum(
            [weight * board.fitted[name].predictions for name, weight in weights.items()], axis=0
        )
        if temperature != 1.0:
            blended = apply_temperature(blended, temperature)
        chosen = choose_threshold(rule, board.table.scored_targets, blended, self.data.classes[1])
        self.listener.message(chosen.note)
        return chosen

    def _balances_errors(self, metric: str) -> bool:
        """Whether absolute and squared errors count alike: nobody has chosen one of them."""
        is_own_table = self.job.recipe.name == "tabular"
        return is_own_table and self.request.metric is None and metric in {"mae", "rmse"}

    # -- fitting ------------------------------------------------------------------------------------------

    def _fit_models(self, board: Leaderboard) -> str:
        """Fit models until time is up or all are fitted; return the reason.

        Ctrl-C is a reason, too, once one model is fitted.
        """
        ended = {entry["trial"] for entry in self.journal_entries if entry["kind"] == "end"}
        for fitted, entry in board.cache.load(self.journal_entries):
            board.restore_model(fitted, entry)
        try:
            specs = self._candidate_models()
            if board.table.folds:
                rows = len(board.table.scored_targets)
                self.listener.message(
                    f"few rows ({rows:,}): val_ metrics are from {board.table.folds}-fold cross-validation"
                )
            self.listener.search_started(
                f"{self.job.recipe.name} for {self.request.timeout_s:g} s",
                trials=len(specs) + (MAX_TRIALS if self._searches_lightgbm else 0),
                parallel=1,
                objective=self.objective,
                time_limit_s=self.budget.left,
            )
            skipped = False  # a model that needs less time may still have room
            for spec in specs:
                if spec.name in ended:
                    continue
                if self._has_time(board, spec):
                    self._fit_model(board, spec)
                else:
                    skipped = True
            return TIME_IS_UP if skipped else self._search_lightgbm(board, ended)
        except KeyboardInterrupt:
            if not board.fitted:
                raise
            return INTERRUPTED

    def _search_lightgbm(self, board: Leaderboard, ended: set[str]) -> str:
        """Search LightGBM's parameters, starting from the best LightGBM candidate; return why it ended."""
        boosters = [entry for entry in board.ranking if entry.family == LIGHTGBM]
        if not self._searches_lightgbm or not boosters:
            return ALL_TRIED
        # a resumed search must start from the same model: not from one that the search itself proposed
        names = (entry.model for entry in boosters if not entry.model[-2:].isdigit())
        base = board.fitted[next(names, boosters[0].model)].spec
        search = LightgbmSearch(
            fixed=self.job.family_params.get(LIGHTGBM, {}),
            maximize=self.objective.maximize,
            seed=self.request.seed,
        )
        while (params := search.ask()) is not None:
            spec = replace(base, name=f"lightgbm-{search.trials:02d}", params={**base.params, **params})
            if spec.name not in ended:
                if not self._has_time(board, spec):
                    return TIME_IS_UP
                self._fit_model(board, spec)
            entry = board.entries.get(spec.name)
            search.tell(entry.score if entry else None)
        return ALL_TRIED

    @property
    def _searches_lightgbm(self) -> bool:
        return LIGHTGBM in self.job.families and not self.has_texts

    @property
    def has_texts(self) -> bool:
        """Whether the data are texts with labels, as bags of n-grams, and not a table of columns."""
        return text_tables.is_of_texts(self.prepared)

    def _has_time(self, board: Leaderboard, spec: ModelSpec) -> bool:
        """Return whether there is time for a model, and for refitting the blend afterwards."""
        durations = [model.seconds for model in board.fitted.values() if model.spec.family == spec.family]
        needed = 0.6 * durations[-1] if durations else 0.0
        if spec.family in {HISTOGRAM, NETWORK}:
            needed = max(needed, MIN_SHARE_TO_START * self.budget.timeout_s)
        return self.budget.left - self._reserved_s(board) > needed or not board.fitted

    def _reserved_s(self, board: Leaderboard) -> float:
        """Return how many seconds are reserved for refitting the best models on all rows."""
        if board.table.folds:
            return 0.0
        to_refit = [entry for entry in board.ranking if not board.fitted[entry.model].fitted_to_all]
        best = to_refit[: blend.MAX_MODELS // 2]
        return self.budget.reserve_for_refits(REFIT_TIME_FACTOR * entry.duration_s for entry in best)

    def _fit_model(self, board: Leaderboard, spec: ModelSpec) -> None:
        if spec.family == NETWORK:
            with InterruptGuard() as guard:
                self._import_keras()
            if guard.interrupted:
                raise KeyboardInterrupt
        board.start_model(spec)
        started = time.monotonic()
        try:
            # the first model gets its time, however little of it the imports have left
            deadline = self.budget.fit_deadline(self._reserved_s(board), first=not board.fitted)
            board.add_model(
                fitting.fit_model(
                    spec,
                    board.table,
                    deadline=deadline,
                    on_round=lambda rounds: board.show_progress(spec, rounds),
                )
            )
        except KeyboardInterrupt:
            board.add_stopped(spec, INTERRUPTED, duration_s=time.monotonic() - started)
            raise
        except OutOfTime as error:
            board.add_stopped(spec, str(error), duration_s=time.monotonic() - started)
        except Exception as error:
            board.add_failed(spec, error, duration_s=time.monotonic() - started)

    def _import_keras(self) -> None:
        """Import Keras and TensorFlow, once, before the first network is fitted or the model is saved.

        It takes seconds, and the first models need neither. Call it in an `InterruptGuard`: after half an import,
        TensorFlow cannot be imported again.
        """
        if not self._has_keras:
            self.listener.stage("starting TensorFlow")
            runtime.import_keras()
            self._has_keras = True

    def _candidate_models(self) -> list[ModelSpec]:
        data, job = self.centered, self.job
        targets = data.train.targets
        specs = candidates.candidate_models(
            job.recipe,
            task=data.task,
            metric=self.objective.metric.removeprefix("val_"),
            positive=not data.classes and bool(min(targets.min(), data.validation.targets.min()) > 0),
            rows=len(targets),
            has_large_targets=not data.classes and learns_logarithm(self.data.train.targets),
            families=job.families,
            family_params=job.family_params,
            texts=self.has_texts,
        )
        declared = job.recipe.declared()
        network_params = {  # hyperparameters set on the recipe are its network's
            name: job.values[name]
            for name in self.request.overrides
            # one that is set for each column, such as column.age, belongs to the data
            if name in job.values and name in declared and not declared[name].data
        }
        return [
            replace(spec, params={**network_params, **spec.params}) if spec.family == NETWORK else spec
            for spec in specs
        ]

    # -- recording ----------------------------------------------------------------------------------------

    def _warn(self, error: MlctlError) -> None:
        self.listener.message(f"{error.message}; the run continues, and its journal keeps every model")
