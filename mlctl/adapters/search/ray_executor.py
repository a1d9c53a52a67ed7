"""Executor whose trials are tasks on a Ray cluster; what they share lies in a storage that all nodes reach."""

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

from mlctl.adapters.ray import task as ray_task
from mlctl.adapters.ray.connection import Connection
from mlctl.adapters.ray.task import Line, carried, found_there, prepare_process
from mlctl.adapters.search.messages import (
    EpochEnded,
    Event,
    Setup,
    Train,
    TrialEnded,
    TrialFailed,
    TrialJob,
    WorkerLost,
)
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.errors import NotFoundError

SETUP = "setup"


class RayExecutor:
    """Executor: up to `slots` trials at once (0: as many as the cluster has room for), `threads` threads each."""

    def __init__(self, connection: Connection, setup: Setup, train: Train, slots: int, threads: int) -> None:
        """Store what trials share, in a folder of its own; the connection is closed with the pool.

        Raises what `SharedStorage.put` raises.
        """
        self._running: dict[str, tuple[TrialJob, Any]] = {}
        self._nodes: dict[str, str] = {}
        self._connection = connection
        self._storage = connection.storage.below(f"mlctl-{uuid.uuid4().hex[:12]}")
        self.slots = slots or connection.slots
        try:
            with tempfile.TemporaryDirectory() as folder:
                setup.save(Path(folder) / SETUP)
                self._storage.put(SETUP, Path(folder) / SETUP)
            source = carried(self._storage, setup.recipe, setup.source)
        except BaseException:
            self.close()
            raise
        self._given = (self._storage, source, f"{train.__module__}:{train.__name__}", threads)

    def free(self) -> int:
        """Return how many more trials may be handed to the cluster."""
        return self.slots - len(self._running)

    def start(self, job: TrialJob) -> None:
        """Have the cluster train a trial."""
        if job.weights_from:
            self._storage.put(Path(job.weights_from).name, Path(job.weights_from))
        away = dataclasses.replace(
            job,
            weights_from=job.weights_from and Path(job.weights_from).name,
            weights_to=job.weights_to and Path(job.weights_to).name,
        )
        self._nodes[job.trial] = ""
        task = self._connection.submit(job.trial, job.attempt, train_there, *self._given, away)
        self._running[job.trial] = job, task

    def answer(self, trial: str, go_on: bool) -> None:
        """Tell a waiting trial whether to go on."""
        self._connection.answer(trial, go_on)

    def events(self, timeout_s: float) -> list[Event]:
        """Return what trials have told; one whose node or process is gone is Lost."""
        connection = self._connection
        tasks = {task: self._nodes[trial] for trial, (_, task) in self._running.items()}
        failures = connection.failures(tasks)  # before the messages: what an ended one has said is then there
        found: list[Event] = []
        for trial, attempt, node, said in connection.messages(0 if failures else timeout_s):
            running = self._running.get(trial)
            if running is None or running[0].attempt != attempt:
                continue
            self._nodes[trial] = node
            if not said:
                continue
            event: Event = pickle.loads(said)  # noqa: S301 - a task of ours has said it
            if isinstance(event, (TrialEnded, TrialFailed)):
                self._bring_weights(self._running.pop(trial)[0])
            found.append(event)
        for trial, (job, task) in list(self._running.items()):
            if task in failures:
                del self._running[trial]
                found.append(_ending(job, failures[task]))
        return found

    def close(self) -> None:
        """End every trial, leave the cluster, and take away what was stored."""
        self._running.clear()
        self._connection.close()
        self._storage.remove()

    def _bring_weights(self, job: TrialJob) -> None:
        if job.weights_to:
            with contextlib.suppress(NotFoundError):  # it was stopped before its last epoch
                shutil.copyfile(self._storage.fetch(Path(job.weights_to).name), job.weights_to)


def train_there(
    line: Line, storage: SharedStorage, source: str, train: str, threads: int, job: TrialJob
) -> None:
    """Train a trial: what a task on a node does."""
    prepare_process(threads)
    module, _, name = train.partition(":")
    work: Train = getattr(import_module(module), name)
    setup = _setup(storage, source)
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "weights.npz"
        mine = dataclasses.replace(
            job,
            weights_from=str(storage.fetch(job.weights_from)) if job.weights_from else None,
            weights_to=str(to) if job.weights_to else None,
        )

        def ended(event: EpochEnded) -> bool:
            return line.say(event, job.waits)

        result = work(setup, mine, ended)
        if job.weights_to and to.exists():
            storage.put(job.weights_to, to)
    gc.collect()  # the next trial may be trained in this process, and graphs are full of cycles
    line.say(result)


@functools.lru_cache(maxsize=1)
def _setup(storage: SharedStorage, source: str) -> Setup:
    return Setup.load(storage.fetch(SETUP), found_there(storage, source))


def _ending(job: TrialJob, error: Exception | None) -> WorkerLost | TrialFailed:
    """Return what has become of a task that ended without a word of its own."""
    why, raised = ray_task.why(error)
    return (TrialFailed if raised else WorkerLost)(job.trial, job.attempt, why)
