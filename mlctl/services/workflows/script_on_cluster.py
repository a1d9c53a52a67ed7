"""mlctl train --cluster, for a user's own script: it runs as a task; if its node dies, another node resumes the run."""

from __future__ import annotations

import os
import tempfile
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from mlctl.adapters.ray import remote_training
from mlctl.adapters.ray.connection import RayConnection
from mlctl.adapters.ray.task import TaskChannel, fetch_files, prepare_process, upload_files
from mlctl.adapters.runlog.recorder import open_store
from mlctl.adapters.scripts.execution import Program, find_program
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.script import ScriptRequest
from mlctl.errors import MlctlError
from mlctl.recipes.local_modules import static_sources
from mlctl.services.scripts.script_run import run_script
from mlctl.services.workflows.finish_result import finish_result
from mlctl.services.workflows.train_on_cluster import TASK_TAG, attempt_on_nodes, lost_attempt
from mlctl.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ScriptTask:
    """What a node gets to run. `state_dir` holds the run's record; None: a folder of the node's own."""

    storage: SharedStorage
    script: str
    settings: Settings
    state_dir: Path | None
    request: ScriptRequest
    task_id: str
    threads: int


def train_on_cluster(
    settings: Settings,
    request: ScriptRequest,
    program: Program,
    *,
    connection: RayConnection,
    listener: ProgressListener,
) -> Run:
    """Run a script on a cluster, close the connection, and return the run.

    The script and the modules beside it travel; data must be where the nodes find it. Raises what the script's run
    raises, ChildFailedError if every attempt is lost.
    """
    cluster, shared = connection.cluster, connection.storage
    storage = shared.subfolder(f"mlctl-{uuid.uuid4().hex[:12]}")
    state_dir = (
        settings.state_dir if cluster.local_node_count else shared.folder and shared.folder / "mlctl-state"
    )
    try:
        folder, file = program.import_folder.resolve(), program.file.resolve()
        upload_files(storage, folder, _sources(program))
        task = ScriptTask(
            storage=storage,
            script=file.relative_to(folder).as_posix(),
            settings=settings,
            state_dir=state_dir,
            request=request,
            task_id=uuid.uuid4().hex,
            threads=max(1, int(cluster.cpu)),
        )
        return attempt_on_nodes(
            connection, run_on_node, task, name=f"train {request.name}", listener=listener
        )
    finally:
        connection.close()
        storage.delete()


def run_on_node(channel: TaskChannel, task: ScriptTask, is_retry: bool) -> None:
    """Run the script, or resume the run of a lost attempt, in a node's process."""
    request = task.request
    if Path(request.folder).is_dir():
        os.chdir(request.folder)  # paths of a local store, and of data, are relative to it
    prepare_process(task.threads)
    file = fetch_files(task.storage)[task.script]
    folder = file.parents[len(Path(task.script).parts) - 1]
    if request.module:
        os.chdir(folder)
        program = find_program("", request.module)
    else:
        program = Program(file=file, import_folder=folder)
    settings = replace(
        task.settings, state_dir=task.state_dir or Path(tempfile.mkdtemp(prefix="mlctl-state-"))
    )
    settings.apply_to_environment()
    try:
        store = open_store(settings.tracking_uri)
        record, run = run_script(
            settings,
            replace(request, tags={**request.tags, TASK_TAG: task.task_id}),
            program,
            remote_training.RelayedProgress(channel),
            lost_attempt(settings, store, task.task_id) if is_retry else None,
        )
        run = finish_result(
            settings,
            record.store,
            run,
            register=request.register,
            listener=remote_training.RelayedProgress(channel),
        )
    except MlctlError as error:
        remote_training.send_failure(channel, error)
    else:
        remote_training.send_result(channel, run)


def _sources(program: Program) -> list[Path]:
    """Return the script and the modules of its folder that it imports; of a package, all of its Python files."""
    folder, file = program.import_folder.resolve(), program.file.resolve()
    if program.spec is not None and file.parent != folder:
        package = folder / file.relative_to(folder).parts[0]
        return sorted(path for path in package.rglob("*.py") if "__pycache__" not in path.parts)
    return [path for path in static_sources(file) if path.is_relative_to(folder)]
