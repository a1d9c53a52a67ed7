"""One search from its parent run to the final model: everything that needs TensorFlow and MLflow at hand."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from mlctl.adapters.keras import runtime, tensors
from mlctl.adapters.plots import search_plots
from mlctl.adapters.runlog import search_journal
from mlctl.adapters.runlog.journal import read_about
from mlctl.adapters.runlog.local_runs import folder_of
from mlctl.adapters.runlog.recorder import PATIENCE_S, Recorder, now_ms, open_store
from mlctl.adapters.runlog.search_journal import SearchJournal
from mlctl.adapters.runlog.trial_runs import TrialRuns
from mlctl.adapters.search.local_executor import Executor, LocalExecutor
from mlctl.adapters.search.messages import Setup, TrialJob
from mlctl.adapters.search.oracles import Oracle
from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.tune import DONE, STOPPED, Search, SearchListener
from mlctl.errors import MlctlError
from mlctl.services.clusters import connect
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.training import report
from mlctl.services.training.request import Request
from mlctl.services.training.run_status import finished, recording
from mlctl.services.training.training import Training
from mlctl.services.tuning.final_models import Final, Finalists
from mlctl.services.tuning.search_loop import Limits, SearchLoop
from mlctl.services.tuning.space import size
from mlctl.services.tuning.stopping import rule
from mlctl.services.tuning.trial import train_trial
from mlctl.services.tuning.trial_state import TrialState, ranked
from mlctl.services.workflows.tune import KIND_TAG, SEARCH, TuneJob, epochs_of, most_trials, request_entry
from mlctl.settings import Settings

LEAST_S = 1.0  # for a search that is resumed without a score, however much of its time is spent

Entries = Sequence[Mapping[str, Any]]


class TuneRun:
    """One search, new or (with `run` and its journal's `entries`) gone on with."""

    def __init__(
        self, settings: Settings, asked: TuneJob, prepared: PreparedData, listener: SearchListener,
        run: Run | None = None, entries: Entries = (), tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """`tags` tell of this going on: that something has changed."""
        self.settings = settings
        self.asked = asked
        self.request = asked.request
        self.prepared = prepared
        self.listener = listener
        self.resumed = run
        self.entries = entries
        self.tags = tags
        self.started = time.time()
        self.parallel = self.request.parallel or provenance.cores()
        self.threads = self.request.threads or max(1, provenance.cores() // self.parallel)
        self.training = Training(settings, self._train_request(), prepared, listener, None, asked.objective)

    def run(self) -> Search:
        """Search and train the final model; return both."""
        self.listener.stage("encoding the data")
        executor = self._executor()  # forks: before any thread of ours, and any operation of TensorFlow's
        with contextlib.closing(executor):
            recorder = self._recorder()
            with recording(recorder, lambda: "interrupted; every finished trial is kept"):
                search = self._recorded(executor, recorder)
        return replace(search, run=finished(recorder, self.listener))

    # -- the parts ----------------------------------------------------------------------------------------

    def _executor(self) -> Executor:
        hardware, data = self.training.hardware, self.prepared.data
        inputs = self.prepared.encoded(data.train)
        if isinstance(inputs, np.ndarray):
            inputs = tensors.aligned(inputs)  # workers then share it, where each would have two copies
        setup = Setup(
            self.request.source, self.asked.recipe, data, inputs, self.prepared.encoded(data.validation),
            self.training.precision,
        )  # fmt: skip
        if (cluster := self.request.cluster) is None:
            fork = runtime.fork_is_safe(hardware)
            return LocalExecutor(setup, train_trial, self.parallel, self.threads, fork)
        connection = connect(cluster, self.listener)
        from mlctl.adapters.search.ray_executor import RayExecutor  # Ray is an extra

        self.threads = self.request.threads or max(1, int(cluster.cpu))
        pool = RayExecutor(connection, setup, train_trial, self.request.parallel, self.threads)
        self.parallel = pool.slots
        return pool

    def _recorder(self) -> Recorder:
        if self.resumed:
            folder = folder_of(self.settings.state_dir, self.resumed.run_id)
            about = read_about(folder) or self._about(self.resumed)
            recorder = Recorder.reopen(folder, self.listener, about, self.settings.tracking_uri)
            recorder.tags({"mlctl.search.trials": self._most_trials, **self.tags})
            return recorder
        recorder = self.training.recorder({KIND_TAG: SEARCH})
        self.training.describe(recorder)
        request = self.request
        recorder.tags({
            "mlctl.search.trials": self._most_trials, "mlctl.search.epochs": epochs_of(self.asked),
            "mlctl.search.algorithm": request.algorithm, "mlctl.search.executions": request.executions,
            "mlctl.search.parallel": self.parallel, "mlctl.search.threads": self.threads,
            "mlctl.search.stop": request.stop or "none",
            "mlctl.search.cluster": request.cluster.address if request.cluster else "none",
            **{f"mlctl.space.{one.name}": one.words for one in self.asked.dimensions},
        })  # fmt: skip
        return recorder

    def _recorded(self, executor: Executor, recorder: Recorder) -> Search:
        asked, request = self.asked, self.request
        journal = SearchJournal(recorder.journal.folder)
        store, experiment_id = open_store(self.settings.tracking_uri), recorder.journal.about["experiment_id"]
        runs = TrialRuns(
            store, experiment_id, recorder.run_id, self._trial_tags(), recorder.journal.folder, self._tell
        )
        limits = self._limits()
        loop = SearchLoop(
            Oracle(request.algorithm, asked.dimensions, asked.objective, request.trials, request.seed, epochs_of(asked)),
            asked.objective, request.executions,
            rule(request.stop, asked.objective, self.listener.message) if request.stop else None,
            limits, journal, runs, self.listener,
        )  # fmt: skip
        try:
            if self.resumed:
                runs.find()
                loop.replay(self.entries[1:], runs.ended)
                if request.trials > self._trials_before():
                    journal.add("more", trials=request.trials)
            else:
                journal.add(SEARCH, request=request_entry(request))
            journal.add("sitting", at=now_ms())
            whole = size(asked.dimensions)
            what = f"{math.floor(whole):,} combinations" if math.isfinite(whole) else "no end of combinations"
            self.listener.search(
                f"{asked.recipe.name}: {request.algorithm}, {what}", self._most_trials,
                self.parallel, asked.objective, limits.deadline and max(0.0, limits.deadline - time.monotonic()),
            )  # fmt: skip
            loop.run(executor, lambda state: self._job(loop, state, recorder))
            if loop.best is None:
                raise loop.fruitless  # noqa: TRY301 - it ends the search as any failure in here does
            best = [one for one in ranked(loop.ends, asked.objective) if one.state in {DONE, STOPPED}]
            chosen = Finalists(asked, executor, runs, self.listener, lambda: loop.late).chosen(
                best, self.prepared
            )
            executor.close()
            self._keep(recorder, loop)
            self.listener.stage(f"training the final model on the values of trial {chosen.trial}")
            final = Final(
                self.settings, self._train_request(), self.prepared, self.listener, asked.objective, chosen
            )
            final.started = self.started
            final.train_into(recorder)
            recorder.metrics({"trials": len(loop.ends)}, step=0)  # resumed, there may be more of them
            recorder.tags({"mlctl.best_trial": chosen.trial, "mlctl.ended": loop.ended})
            runs.finish(PATIENCE_S)  # what is unsent then stays with the run's record, for mlctl sync
        except BaseException:
            runs.finish(1.0)
            raise
        finally:
            journal.close()
        trials = tuple(one.result(runs.ids.get(one.trial, "")) for one in ranked(loop.ends, asked.objective))
        return Search(self.training_run(recorder), asked.objective, trials, loop.ended, chosen.trial)

    def training_run(self, recorder: Recorder) -> Run:
        """Return the parent run as it is before its last records are sent."""
        return Run(recorder.run_id, "", "", "RUNNING", self.settings.tracking_uri)

    def _job(self, loop: SearchLoop, state: TrialState, recorder: Recorder) -> TrialJob:
        values = {name: value for name, value in state.values.items() if not name.startswith("tuner/")}
        whole = {**self.asked.fixed, **values}
        job = TrialJob(
            state.trial, state.attempt, whole, self.asked.objective, int(whole["epochs"]), self.request.seed,
            self.request.executions, waits=True,
        )  # fmt: skip
        if "tuner/epochs" not in state.values:
            return job
        weights = recorder.journal.folder / "weights"
        weights.mkdir(exist_ok=True)
        job = replace(
            job, epochs=int(state.values["tuner/epochs"]), weights_to=str(weights / f"{state.trial}.npz")
        )
        if earlier := state.values.get("tuner/trial_id"):
            name = loop.oracle.name_of(earlier)
            after = _whole_curve(loop, name)
            job = replace(job, after=after, weights_from=str(weights / f"{name}.npz"))
        return job

    def _about(self, run: Run) -> dict[str, Any]:
        """Return whose record it is, for a search that was begun on another machine or is finished."""
        return {
            "tracking_uri": self.settings.tracking_uri,
            "experiment": run.experiment,
            "experiment_id": TrackingStore(self.settings.tracking_uri).experiment_ids(run.experiment)[0],
            "run_id": run.run_id,
            "run_name": run.run_name,
            "tags": {},
            "began": int(run.started_at.timestamp() * 1000) if run.started_at else 0,
        }

    # -- what is recorded ---------------------------------------------------------------------------------

    @property
    def _most_trials(self) -> int:
        return most_trials(self.asked)

    def _limits(self) -> Limits:
        deadline = None
        if (timeout := self.request.timeout_s) is not None:
            left = timeout - search_journal.spent_s(self.entries)
            if not any(entry["kind"] == "end" and entry["score"] is not None for entry in self.entries):
                left = max(left, LEAST_S)
            deadline = time.monotonic() + left
        return Limits(self.request.trials, deadline, self.request.max_failures, self.parallel)

    def _trials_before(self) -> int:
        more = [entry["trials"] for entry in self.entries if entry["kind"] == "more"]
        return int(more[-1] if more else self.entries[0]["request"]["trials"])

    def _train_request(self) -> Request:
        request = self.request
        return Request(
            request.source, request.given, request.data, request.rows, request.seed, None, request.precision,
            request.run_name, request.tags, request.register,
        )  # fmt: skip

    def _trial_tags(self) -> dict[str, Any]:
        return {
            "mlflow.user": provenance.user(),
            "mlflow.source.name": "mlctl tune",
            "mlflow.source.type": "LOCAL",
            "mlctl.recipe": self.asked.recipe.name,
            "mlctl.objective": str(self.asked.objective),
            **report.data_tags(self.prepared.reference),
        }

    def _keep(self, recorder: Recorder, loop: SearchLoop) -> None:
        """Keep the journal, the space and the pictures of the search with its run."""
        states = [one for one in loop.states.values() if one.score is not None]
        recorder.artifact(search_journal.NAME).write_bytes(
            (recorder.journal.folder / search_journal.NAME).read_bytes()
        )
        recorder.keep(search_journal.NAME)
        recorder.artifact("space.json").write_text(
            report.as_json({one.name: one.words for one in self.asked.dimensions}), encoding="utf-8"
        )
        recorder.keep("space.json")
        rows = [(one.values, float(one.score)) for one in states if one.score is not None]
        for name, draw in (
            ("plots/parallel_coordinates.png", search_plots.parallel_coordinates),
            ("plots/importance.png", search_plots.importance),
        ):
            draw(recorder.artifact(name), self.asked.dimensions, rows, self.asked.objective)
            recorder.keep(name)

    def _tell(self, error: MlctlError) -> None:
        self.listener.message(f"{error.message}; the search goes on, and its journal keeps every trial")


def _whole_curve(loop: SearchLoop, trial: str) -> tuple[Any, ...]:
    """Return all epochs of a hyperband trial, those of the trials that it went on from included."""
    state = loop.states[trial]
    earlier = state.values.get("tuner/trial_id")
    before = _whole_curve(loop, loop.oracle.name_of(earlier)) if earlier else ()
    return (*before, *state.curves.get(1, []))
