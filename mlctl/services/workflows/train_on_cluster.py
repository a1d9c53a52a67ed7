"""mlctl train --cluster: one training as a task on a cluster; if its node dies, another node resumes it.

What the task needs goes through the shared storage. If the storage is a folder, the run's record is there, too.
If it is a bucket, the next node resumes from the store's copy of the checkpoint (--checkpoint-every).
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlctl.adapters.ray import remote_training
from mlctl.adapters.ray.connection import RayConnection
from mlctl.adapters.ray.task import TaskChannel, prepare_process, resolve_recipe, upload_recipe
from mlctl.adapters.ray.worker_group import RayWorkers
from mlctl.adapters.runlog import local_runs
from mlctl.adapters.runlog.journal import Journal, read_header
from mlctl.adapters.runlog.recorder import open_store
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.cluster import Cluster
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Condition, RunField
from mlctl.errors import ChildFailedError, MlctlError, RefusedError
from mlctl.recipes import Recipe, ResolvedRecipe, find
from mlctl.services.recipes.prepare import PreparedData, prepare
from mlctl.services.training.request import TrainRequest
from mlctl.services.training.resume_point import ResumePoint, fetch_resume_point
from mlctl.services.workflows.run_training import run_training
from mlctl.settings import Settings

TASK_TAG = "mlctl.cluster_task"  # by which an attempt finds the run that the attempt before has started
MAX_ATTEMPTS = 5
PREPARED = "prepared"
LOCK_TIMEOUT_S = 60.0  # how long a process of a dead node may keep the record open


@dataclass(frozen=True, kw_only=True)
class NodeTask:
    """What a node gets to train. `state_dir` holds the run's record; None: a folder of the node's own.

    With several workers in `cluster`, the node has the run, and the workers train its model.
    """

    storage: SharedStorage
    source: str
    settings: Settings
    state_dir: Path | None
    request: TrainRequest
    task_id: str
    working_dir: Path
    argv: tuple[str, ...]
    threads: int
    cluster: Cluster


def train(
    settings: Settings,
    request: TrainRequest,
    prepared: PreparedData,
    *,
    connection: RayConnection,
    listener: ProgressListener,
) -> Run:
    """Train on a cluster, close the connection, and return the run.

    Raises what the training raises, ChildFailedError if every attempt is lost.
    """
    cluster, shared = connection.cluster, connection.storage
    storage = shared.subfolder(f"mlctl-{uuid.uuid4().hex[:12]}")
    state_dir = (
        settings.state_dir if cluster.local_node_count else shared.folder and shared.folder / "mlctl-state"
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / PREPARED
            _save_prepared(file, prepared)
            storage.put(PREPARED, file)
        task = NodeTask(
            storage=storage,
            source=upload_recipe(storage, prepared.recipe, request.source),
            settings=settings,
            state_dir=state_dir,
            request=request,
            task_id=uuid.uuid4().hex,
            working_dir=Path.cwd(),
            argv=tuple(sys.argv),
            threads=max(1, int(cluster.cpu)),
            cluster=cluster,
        )
        return attempt_on_nodes(
            connection, train_on_node, task, name=f"train {prepared.recipe.name}", listener=listener
        )
    finally:
        connection.close()
        storage.delete()


def attempt_on_nodes(
    connection: RayConnection,
    work: Callable[..., None],
    task: Any,
    *,
    name: str,
    listener: ProgressListener,
) -> Run:
    """Run a task on a node, and again on another one as long as nodes are lost; return its run.

    `work` takes a `TaskChannel`, the task, and whether an attempt was lost before. Raises as `train`.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        outcome = remote_training.follow(
            connection, work, task, attempt > 1, name=name, attempt=attempt, listener=listener
        )
        if isinstance(outcome, Run):
            return outcome
        listener.message(f"{outcome}; another node resumes the training")
    raise ChildFailedError(
        f"{MAX_ATTEMPTS} attempts were lost, the last one: {outcome}", "does it fit into --memory?"
    )


def train_on_node(channel: TaskChannel, task: NodeTask, is_retry: bool) -> None:
    """Train, or resume the training of a lost attempt, in a node's process."""
    sys.argv = list(task.argv)
    if task.working_dir.is_dir():
        os.chdir(task.working_dir)  # paths of a local store are relative to it
    prepare_process(task.threads)
    recipe = find(resolve_recipe(task.storage, task.source))
    prepared = _load_prepared(task, recipe)
    state_dir = task.state_dir or Path(tempfile.mkdtemp(prefix="mlctl-state-"))
    settings = replace(task.settings, state_dir=state_dir)
    settings.apply_to_environment()
    try:
        store = open_store(settings.tracking_uri)
        run = run_training(
            settings,
            replace(task.request, tags={**task.request.tags, TASK_TAG: task.task_id}),
            prepared,
            listener=remote_training.RelayedProgress(channel),
            store=store,
            resume_point=lost_attempt(settings, store, task.task_id) if is_retry else None,
            workers=RayWorkers(task.cluster, task.storage, task.source) if task.cluster.workers > 1 else None,
        )
    except MlctlError as error:
        remote_training.send_failure(channel, error)
    else:
        remote_training.send_result(channel, run)


def _save_prepared(file: Path, prepared: PreparedData) -> None:
    """Write the data and its encoder; nodes load data themselves that cannot be written, as a tf.data.Dataset."""
    try:
        remote_training.save_with_code(file, (prepared.values, prepared.data, prepared.encoder))
    except Exception:  # what it raises depends on what the data holds
        remote_training.save_with_code(file, (prepared.values, None, None))


def _load_prepared(task: NodeTask, recipe: Recipe) -> PreparedData:
    values, data, encoder = pickle.loads(task.storage.fetch(PREPARED).read_bytes())  # noqa: S301 - our own
    if data is not None:
        return PreparedData(recipe=recipe, values=values, data=data, encoder=encoder)
    request = task.request
    return prepare(
        task.settings,
        ResolvedRecipe(recipe),
        values,
        data=request.data,
        rows=request.rows,
        listener=NullProgress(),
    )


def lost_attempt(settings: Settings, store: TrackingStore, task_id: str) -> ResumePoint | None:
    """Return where the attempt before has left the run; None if it had not started one."""
    run = next(iter(store.search_runs([Condition(RunField("tag", TASK_TAG), "=", task_id)])), None)
    if run is None:
        return None
    folder = local_runs.record_folder(settings.state_dir, run.run_id)
    if not read_header(folder):
        return fetch_resume_point(store, run, folder)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            Journal(folder).close()
        except RefusedError:  # a process of the dead node has it open; it ends when it cannot send progress
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return ResumePoint(folder=folder, header=read_header(folder))
