"""One search from its parent run to the final model; it needs TensorFlow and MLflow."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlctl.adapters.ray import cluster_access
from mlctl.adapters.runlog import search_journal
from mlctl.adapters.runlog.journal import read_header
from mlctl.adapters.runlog.local_runs import record_folder, to_run
from mlctl.adapters.runlog.recorder import PATIENCE_S, Recorder, now_ms
from mlctl.adapters.runlog.search_journal import SearchJournal
from mlctl.adapters.runlog.trial_runs import TrialRuns
from mlctl.adapters.search.local_executor import LocalExecutor
from mlctl.adapters.search.messages import Executor, SearchSetup, TrialJob
from mlctl.adapters.search.oracles import Oracle
from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import Epoch
from mlctl.domain.run import Run
from mlctl.domain.tags import ENDED_TAG, KIND_TAG, SEARCH_EPOCHS_TAG, SEARCH_TRIALS_TAG
from mlctl.domain.tune import DONE, STOPPED, SearchListener, SearchResult, rank_trials
from mlctl.errors import MlctlError
from mlctl.notifications import SEARCH_FINISHED
from mlctl.services.training.resume_point import record_header
from mlctl.services.training.run_status import finish_run, recording
from mlctl.services.tuning.finalists import FinalValues
from mlctl.services.tuning.request import SEARCH, TuneJob, trials_in_journal
from mlctl.services.tuning.search_history import SearchHistory
from mlctl.services.tuning.search_loop import SearchLimits, SearchLoop
from mlctl.services.tuning.search_report import log_search
from mlctl.services.tuning.space import size
from mlctl.services.tuning.stopping import parse_stop_rule
from mlctl.services.tuning.trial_source import SearchContext, TrialSource
from mlctl.services.tuning.trial_state import TrialState
from mlctl.settings import Settings

TRIALS_FOLDER = "trials"  # of the search's record: what its trials print
MIN_TIME_S = 1.0  # for a resumed search without a score, however much of its time it has used

Entries = Sequence[Mapping[str, Any]]


class TuneRun:
    """One search: a new one, or a resumed one."""

    def __init__(
        self,
        settings: Settings,
        store: TrackingStore,
        job: TuneJob,
        *,
        source: TrialSource,
        listener: SearchListener,
        resumed: Run | None = None,
        entries: Entries = (),
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """To resume a search, pass its parent run, its journal, and the tags that record what the resume changes."""
        self.settings = settings
        self.store = store
        self.job = job
        self.request = job.request
        self.source = source
        self.listener = listener
        self.resumed = resumed
        self.entries = entries
        self.tags = tags
        self.started = time.monotonic()
        self.parallel = self.request.parallel or provenance.available_cores()
        self.threads = self.request.threads or max(1, provenance.available_cores() // self.parallel)

    def run(self) -> SearchResult:
        """Search and train the final model; return both."""
        self.listener.stage("preparing the trials")
        # it forks: before this process starts a thread or a TensorFlow operation
        executor = self._make_executor()
        with contextlib.closing(executor):
            recorder = self._open_recorder()
            with recording(
                recorder, lambda: "interrupted; every finished trial is kept", self.settings.notify
            ):
                search = self._search(executor, recorder)
        run = finish_run(
            recorder, self.store, self.listener, notify=self.settings.notify, event=SEARCH_FINISHED
        )
        return replace(search, run=run)

    # -- the parts ----------------------------------------------------------------------------------------

    def _make_executor(self) -> Executor:
        request = self.request
        setup, train_trial = self.source.make_setup(), self.source.train_trial
        if request.cluster is None:
            fork = self.source.is_fork_safe()
            return LocalExecutor(setup, train_trial, slots=self.parallel, threads=self.threads, fork=fork)
        connection = cluster_access.connect(request.cluster, self.listener)
        from mlctl.adapters.search.ray_executor import RayExecutor  # Ray is an extra

        assert isinstance(setup, SearchSetup), "scripts are refused before"
        self.threads = request.threads or max(1, int(request.cluster.cpu))
        executor = RayExecutor(connection, setup, train_trial, slots=request.parallel, threads=self.threads)
        self.parallel = executor.slots
        return executor

    def _open_recorder(self) -> Recorder:
        if self.resumed:
            folder = record_folder(self.settings.state_dir, self.resumed.run_id)
            header = read_header(folder) or record_header(self.store, self.resumed)
            recorder = Recorder.reopen(folder, self.store, header=header, listener=self.listener)
            recorder.set_tags({SEARCH_TRIALS_TAG: self.job.max_trials, **self.tags})
            return recorder
        recorder = self.source.create_run(self.listener, {KIND_TAG: SEARCH})
        request = self.request
        recorder.set_tags(
            {
                SEARCH_TRIALS_TAG: self.job.max_trials,
                SEARCH_EPOCHS_TAG: self.job.max_epochs,
                "mlctl.search.algorithm": request.algorithm,
                "mlctl.search.executions": request.executions,
                "mlctl.search.parallel": self.parallel,
                "mlctl.search.threads": self.threads,
                "mlctl.search.stop": request.stop or "none",
                "mlctl.search.cluster": request.cluster.address if request.cluster else "none",
                **{f"mlctl.space.{dimension.name}": dimension.text for dimension in self.job.dimensions},
            }
        )
        return recorder

    def _search(self, executor: Executor, recorder: Recorder) -> SearchResult:
        """Run the search loop, choose the final values, and train the final model into the parent run."""
        job, folder = self.job, recorder.journal.folder
        runs = TrialRuns(
            self.store,
            experiment_id=recorder.journal.header["experiment_id"],
            parent_id=recorder.run_id,
            folder=folder,
            tags=self.source.nested_run_tags(),
            report_error=self._report_store_error,
        )
        with contextlib.closing(SearchJournal(folder)) as journal:
            history = SearchHistory(
                job.objective,
                self.request.executions,
                journal,
                runs,
                params=self.source.trial_params,
                log_folder=folder / TRIALS_FOLDER if self.source.has_output else None,
            )
            loop = self._make_loop(history)
            loop.stop_requests = lambda: recorder.trial_stop_requests
            try:
                self._begin(loop, journal, runs)
                loop.run(executor, lambda state: self._trial_job(loop, state, folder))
                if loop.history.best is None:
                    raise loop.no_score_error()  # noqa: TRY301 - it ends the search like any failure in here
                results = rank_trials(loop.history.ended, job.objective)
                final = self.source.choose_final_values(
                    [state for state in results if state.state in {DONE, STOPPED}],
                    SearchContext(
                        executor=executor,
                        tracker=runs,
                        listener=self.listener,
                        out_of_time=lambda: loop.out_of_time,
                    ),
                )
                executor.close()
                log_search(recorder, job, loop.history)
                self._train_final_model(recorder, final)
                # a metric, not a parameter: a resume may add trials
                recorder.log_metrics({"trials": len(results)}, step=0)
                recorder.set_tags({"mlctl.best_trial": final.trial, ENDED_TAG: loop.end_reason})
                runs.finish(PATIENCE_S)  # mlctl sync sends what is left
            except BaseException:
                runs.finish(1.0)
                raise
        return SearchResult(
            run=to_run(recorder.journal),
            objective=job.objective,
            trials=tuple(state.result(runs.ids.get(state.trial, "")) for state in results),
            end_reason=loop.end_reason,
            best_trial=final.trial,
        )

    def _make_loop(self, history: SearchHistory) -> SearchLoop:
        job, request = self.job, self.request
        oracle = Oracle(
            request.algorithm,
            job.dimensions,
            job.objective,
            trials=request.trials,
            seed=request.seed,
            epochs=job.max_epochs,
        )
        stop = request.stop
        return SearchLoop(
            oracle,
            history,
            limits=SearchLimits(
                trials=request.trials,
                deadline=self._deadline(),
                max_failures=request.max_failures,
                parallel=self.parallel,
            ),
            stop_rule=parse_stop_rule(stop, job.objective, self.listener.message) if stop else None,
            listener=self.listener,
        )

    def _begin(self, loop: SearchLoop, journal: SearchJournal, runs: TrialRuns) -> None:
        """Write the journal's first lines, or replay it, and announce the search."""
        request = self.request
        if self.resumed:
            runs.find()
            loop.replay(self.entries[1:], runs.ended)
            if request.trials > trials_in_journal(self.entries):
                journal.add("more", trials=request.trials)
        else:
            journal.add(SEARCH, request=request.to_journal())
        journal.add("sitting", at=now_ms())
        combinations = size(self.job.dimensions)
        text = (
            f"{math.floor(combinations):,} combinations"
            if math.isfinite(combinations)
            else "a continuous space"
        )
        deadline = loop.limits.deadline
        self.listener.search_started(
            f"{self.job.name}: {request.algorithm}, {text}",
            trials=self.job.max_trials,
            parallel=self.parallel,
            objective=self.job.objective,
            time_limit_s=deadline and max(0.0, deadline - time.monotonic()),
        )

    def _trial_job(self, loop: SearchLoop, state: TrialState, folder: Path) -> TrialJob:
        """Return what a worker trains; with hyperband, from the weights of an earlier trial if that is possible."""
        values = self.job.values_of_trial(state.values)
        job = TrialJob(
            trial=state.trial,
            attempt=state.attempt,
            values=values,
            objective=self.job.objective,
            epochs=int(values.get("epochs", self.job.max_epochs)),
            seed=self.request.seed,
            executions=self.request.executions,
            waits=True,
            log_to=str(log) if (log := loop.history.log_file(state.trial)) else None,
        )
        if "tuner/epochs" not in state.values:
            return job
        if not self.source.continues_trials:
            return replace(job, epochs=int(state.values["tuner/epochs"]))
        weights = folder / "weights"
        weights.mkdir(exist_ok=True)
        epochs = int(state.values["tuner/epochs"])
        job = replace(
            job,
            epochs=epochs,
            all_phases=epochs >= self.job.max_epochs,
            save_weights_to=str(weights / f"{state.trial}.npz"),
        )
        if earlier := state.values.get("tuner/trial_id"):
            name = loop.oracle.trial_name(earlier)
            job = replace(
                job, earlier_epochs=_all_epochs(loop, name), load_weights_from=str(weights / f"{name}.npz")
            )
        return job

    def _train_final_model(self, recorder: Recorder, final: FinalValues) -> None:
        self.listener.stage(f"training the final model on the values of trial {final.trial}")
        self.source.train_final_model(recorder, final, listener=self.listener, started=self.started)

    # -- what is recorded ---------------------------------------------------------------------------------

    def _deadline(self) -> float | None:
        if self.request.timeout_s is None:
            return None
        left = self.request.timeout_s - search_journal.spent_s(self.entries)
        has_score = any(entry["kind"] == "end" and entry["score"] is not None for entry in self.entries)
        return time.monotonic() + (left if has_score else max(left, MIN_TIME_S))

    def _report_store_error(self, error: MlctlError) -> None:
        self.listener.message(f"{error.message}; the search continues, and its journal keeps every trial")


def _all_epochs(loop: SearchLoop, trial: str) -> tuple[Epoch, ...]:
    """Return all epochs of a hyperband trial, including those of the trials that it continues."""
    state = loop.history.states[trial]
    earlier = state.values.get("tuner/trial_id")
    before = _all_epochs(loop, loop.oracle.trial_name(earlier)) if earlier else ()
    return (*before, *state.curves.get(1, []))
