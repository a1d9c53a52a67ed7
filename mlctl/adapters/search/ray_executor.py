"""Trials as tasks on a Ray cluster. What they share is in a storage that all nodes can reach."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import pickle
import shutil
import tempfile
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any

import ray

from mlctl.adapters.ray.connection import RayConnection
from mlctl.adapters.ray.task import (
    TaskChannel,
    describe_failure,
    prepare_process,
    resolve_recipe,
    upload_recipe,
)
from mlctl.adapters.search.messages import (
    EpochEnded,
    Event,
    SearchSetup,
    TrainTrial,
    TrialEnd,
    TrialFailed,
    TrialJob,
    WorkerLost,
)
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.errors import NotFoundError

SETUP = "setup"  # storage key


class RayExecutor:
    """Executor of a cluster: up to `slots` trials at once, with `threads` threads each."""

    def __init__(
        self,
        connection: RayConnection,
        setup: SearchSetup,
        train_trial: TrainTrial,
        *,
        slots: int,
        threads: int,
    ) -> None:
        """Upload what trials share to a folder of its own. `close` closes the connection, too.

        `slots` 0 means as many as the cluster has room for. Raises what `SharedStorage.put` raises.
        """
        self._running: dict[str, tuple[TrialJob, Any]] = {}
        self._nodes: dict[str, str] = {}
        self._connection = connection
        self._storage = connection.storage.subfolder(f"mlctl-{uuid.uuid4().hex[:12]}")
        self.slots = slots or connection.slots
        try:
            with tempfile.TemporaryDirectory() as folder:
                setup.save(Path(folder) / SETUP, for_other_machines=True)
                self._storage.put(SETUP, Path(folder) / SETUP)
            source = upload_recipe(self._storage, setup.recipe, setup.source)
        except BaseException:
            self.close()
            raise
        function = f"{train_trial.__module__}:{train_trial.__name__}"
        self._task_arguments = (self._storage, source, function, threads)

    def free_slots(self) -> int:
        """Return how many more trials can be submitted to the cluster."""
        return self.slots - len(self._running)

    def start(self, job: TrialJob) -> None:
        """Submit a trial to the cluster."""
        if job.load_weights_from:
            self._storage.put(Path(job.load_weights_from).name, Path(job.load_weights_from))
        remote_job = dataclasses.replace(
            job,
            load_weights_from=job.load_weights_from and Path(job.load_weights_from).name,
            save_weights_to=job.save_weights_to and Path(job.save_weights_to).name,
        )
        self._nodes[job.trial] = ""
        task = self._connection.submit(
            job.trial, job.attempt, train_on_node, *self._task_arguments, remote_job
        )
        self._running[job.trial] = job, task

    def answer(self, trial: str, proceed: bool) -> None:
        """Tell a waiting trial whether to continue."""
        self._connection.answer(trial, proceed)

    def stop(self, trial: str) -> None:
        """Cancel the task of a trial."""
        if trial in self._running:
            ray.cancel(self._running[trial][1], force=True)

    def events(self, timeout_s: float) -> list[Event]:
        """Return the trials' events; report a trial whose node or process died as WorkerLost."""
        connection = self._connection
        tasks = {task: self._nodes[trial] for trial, (_, task) in self._running.items()}
        # before the messages, so that those of ended tasks have arrived
        failures = connection.failures(tasks)
        events: list[Event] = []
        for trial, attempt, node, content in connection.messages(0 if failures else timeout_s):
            running = self._running.get(trial)
            if running is None or running[0].attempt != attempt:
                continue
            self._nodes[trial] = node
            if not content:
                continue
            event: Event = pickle.loads(content)  # noqa: S301 - sent by our own task
            if isinstance(event, TrialEnd):
                self._download_weights(self._running.pop(trial)[0])
            events.append(event)
        for trial, (job, task) in list(self._running.items()):
            if task in failures:
                del self._running[trial]
                reason, raised = describe_failure(failures[task])
                events.append((TrialFailed if raised else WorkerLost)(job.trial, job.attempt, reason))
        return events

    def close(self) -> None:
        """End every trial, leave the cluster, and delete what was uploaded."""
        self._running.clear()
        self._connection.close()
        self._storage.delete()

    def _download_weights(self, job: TrialJob) -> None:
        if job.save_weights_to:
            with contextlib.suppress(NotFoundError):  # the trial was stopped before its last epoch
                shutil.copyfile(self._storage.fetch(Path(job.save_weights_to).name), job.save_weights_to)


def train_on_node(
    channel: TaskChannel, storage: SharedStorage, source: str, function: str, threads: int, job: TrialJob
) -> None:
    """Train a trial in a task on a node. `function` is MODULE:NAME of a TrainTrial."""
    prepare_process(threads)
    module, _, name = function.partition(":")
    train_trial: TrainTrial = getattr(import_module(module), name)
    setup = _load_setup(storage, source)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.npz"
        local_job = dataclasses.replace(
            job,
            load_weights_from=str(storage.fetch(job.load_weights_from)) if job.load_weights_from else None,
            save_weights_to=str(weights) if job.save_weights_to else None,
        )

        def report_epoch(event: EpochEnded) -> bool:
            return channel.send(event, job.waits)

        result = train_trial(setup, local_job, report_epoch)
        if job.save_weights_to and weights.exists():
            storage.put(job.save_weights_to, weights)
    gc.collect()  # this process may train the next trial, and graphs have reference cycles
    channel.send(result)


@functools.lru_cache(maxsize=1)
def _load_setup(storage: SharedStorage, source: str) -> SearchSetup:
    return SearchSetup.load(storage.fetch(SETUP), resolve_recipe(storage, source))
