"""mlctl train --cluster: one training as a task on a cluster, gone on with elsewhere where its node dies.

What it needs goes through the storage. Its record lies there too where that is a folder; where it is a bucket,
the store's own copy of the checkpoint (--checkpoint-every) is what the next node goes on from.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray import cancel, cloudpickle

from mlctl.adapters.ray.connection import Connection
from mlctl.adapters.ray.task import Line, carried, found_there, prepare_process, why
from mlctl.adapters.runlog import local_runs
from mlctl.adapters.runlog.journal import Journal, read_about
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Condition, Field
from mlctl.errors import ChildFailedError, MlctlError, RefusedError
from mlctl.recipes import find
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.training.request import Request, ResumePoint
from mlctl.services.workflows import resume
from mlctl.services.workflows.train import run_training
from mlctl.settings import Settings

MARK = "mlctl.cluster_task"  # the tag by which an attempt finds the run that the one before has begun
MOST_ATTEMPTS = 5
PREPARED = "prepared"
STEP_S = 1.0  # how often a step is told
LOCKED_S = 60.0  # how long a process of a dead node may hold the record


@dataclass(frozen=True)
class Task:
    """What a node is given to train. `state` is where records lie, None for a folder of the node's own."""

    storage: SharedStorage
    source: str
    settings: Settings
    state: Path | None
    request: Request
    mark: str
    folder: Path
    argv: tuple[str, ...]
    threads: int


def train(
    settings: Settings,
    request: Request,
    prepared: PreparedData,
    connection: Connection,
    listener: ProgressListener,
) -> Run:
    """Train on a cluster; return the run. The connection is closed.

    Raises what the training raises, ChildFailedError where every attempt is lost.
    """
    place = connection.storage
    own = connection.cluster.own_nodes
    storage = place.below(f"mlctl-{uuid.uuid4().hex[:12]}")
    state = settings.state_dir if own else place.folder and place.folder / "mlctl-state"
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / PREPARED
            file.write_bytes(cloudpickle.dumps((prepared.values, prepared.data, prepared.encoder)))
            storage.put(PREPARED, file)
        task = Task(
            storage, carried(storage, prepared.recipe, request.source), settings, state, request,
            uuid.uuid4().hex, Path.cwd(), tuple(sys.argv), max(1, int(connection.cluster.cpu)),
        )  # fmt: skip
        for attempt in range(1, MOST_ATTEMPTS + 1):
            found = _followed(connection, f"train {prepared.recipe.name}", attempt, task, listener)
            if isinstance(found, Run):
                return found
            listener.message(f"{found}; the training goes on elsewhere")
        raise ChildFailedError(
            f"{MOST_ATTEMPTS} attempts were lost, the last one: {found}", "does it fit into --memory?"
        )
    finally:
        connection.close()
        storage.remove()


def _followed(
    connection: Connection, name: str, attempt: int, task: Task, listener: ProgressListener
) -> Run | str:
    """Follow one attempt to its end; return its run, or how it was lost."""
    running = connection.submit(name, attempt, train_there, task, attempt > 1)
    node = ""
    while True:
        try:
            failures = connection.failures({running: node})
            for _, number, where, told in connection.messages(0 if failures else 0.5):
                if number != attempt:
                    continue
                node = where
                if not told:
                    continue
                what, given = pickle.loads(told)  # noqa: S301 - a task of ours has said it
                if what == "ended":
                    return given[0]  # type: ignore[no-any-return]
                if what == "failed":
                    raise given[0]
                getattr(listener, what)(*given)
        except KeyboardInterrupt:
            cancel(running)  # it hears Ctrl-C itself, keeps what is done, and says so
            continue
        if running in failures:
            said, raised = why(failures[running])
            if raised:
                raise ChildFailedError(f"the training failed: {said}", "look at the cluster's logs")
            return said


def train_there(line: Line, task: Task, again: bool) -> None:
    """Train, or go on: what a node does."""
    sys.argv = list(task.argv)
    if task.folder.is_dir():
        os.chdir(task.folder)  # a store of this machine's own has paths that are relative to it
    prepare_process(task.threads)
    recipe = find(found_there(task.storage, task.source))
    recipe.own_data = None if ".py" in task.request.source else task.request.source
    values, data, encoder = pickle.loads(task.storage.fetch(PREPARED).read_bytes())  # noqa: S301 - ours
    state = task.state or Path(tempfile.mkdtemp(prefix="mlctl-state-"))
    settings = replace(task.settings, state_dir=state)
    request = replace(task.request, tags={**task.request.tags, MARK: task.mark})
    try:
        resumed = _left_off(settings, task.mark) if again else None
        run = run_training(
            settings, request, PreparedData(recipe, values, data, encoder), _Relayed(line), resumed
        )
    except MlctlError as error:
        line.say(("failed", (error,)))
    else:
        line.say(("ended", (run,)))


def _left_off(settings: Settings, mark: str) -> ResumePoint | None:
    """Return where the attempt before has left the run; None where it had not begun one."""
    found = next(
        iter(TrackingStore(settings.tracking_uri).search([Condition(Field("tag", MARK), "=", mark)])), None
    )
    if found is None:
        return None
    folder = local_runs.folder_of(settings.state_dir, found.run_id)
    if not read_about(folder):
        about, known = resume.fetched(settings, found, folder)
        return ResumePoint(folder, about, known)
    until = time.monotonic() + LOCKED_S
    while True:
        try:
            Journal(folder).close()
        except RefusedError:  # a process of the dead node's, which ends as soon as it finds itself unheard
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
        else:
            return ResumePoint(folder, read_about(folder))


class _Relayed:
    """A Watcher whose words are said elsewhere; one that nobody hears any more ends its process."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._told = 0.0

    def _tell(self, what: str, *given: Any) -> None:
        if not self._line.say((what, given)):
            os._exit(
                1
            )  # another attempt has the run now, or nobody wants it: not a word more may be recorded

    def message(self, text: str) -> None:
        """Relay it."""
        self._tell("message", text)

    def download(self, name: str, done: int, total: int | None) -> None:
        """Say nothing: the data is there."""

    def training_started(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Relay it."""
        self._tell("training_started", what, epochs, steps, objective)

    def step(self, epoch: int, done: int, steps: int) -> None:
        """Relay it now and then, and at the end of an epoch: before the epoch is recorded."""
        now = time.monotonic()
        if done == steps or now - self._told > STEP_S:
            self._told = now
            self._tell("step", epoch, done, steps)

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: int, seconds: float) -> None:
        """Relay it."""
        self._tell("epoch_ended", epoch, dict(metrics), best, seconds)

    def stage(self, what: str) -> None:
        """Relay it."""
        self._tell("stage", what)
