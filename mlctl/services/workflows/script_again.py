"""mlctl resume and mlctl reproduce, for runs of a user's own script."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

from mlctl.adapters.runlog import local_runs
from mlctl.adapters.scripts.execution import Program, find_program
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.sources.locate import sha256
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.script import ScriptRequest
from mlctl.domain.tags import RECIPE_SHA256_TAG, SCRIPT_TAG, SEED_TAG
from mlctl.errors import NotFoundError, RefusedError
from mlctl.services.runs.environment import read_environment
from mlctl.services.training import changes, code_files
from mlctl.services.training.resume_point import ResumePoint
from mlctl.services.workflows.finish_result import finish_result
from mlctl.settings import Settings


def is_script_run(run: Run) -> bool:
    """Return whether `mlctl train` made this run from a script."""
    return SCRIPT_TAG in run.tags


def script_request_of(run: Run) -> ScriptRequest:
    """Return the request of a script's run."""
    return ScriptRequest.from_tag(json.loads(run.tags[SCRIPT_TAG]))


def resume_script(
    settings: Settings,
    store: TrackingStore,
    run: Run,
    point: ResumePoint,
    *,
    epochs: int | None,
    force: bool,
    listener: ProgressListener,
) -> Run:
    """Run a script again; its `fit` continues after the newest checkpoint, in the same run.

    Raises RefusedError if the script, its modules or its data have changed, unless `force`.
    """
    request = script_request_of(run)
    if epochs:
        request = dataclasses.replace(request, epochs=epochs)
    _use_backend(request)
    program, changed = find_again(store, run, request, point.folder)
    changed += changes.version_changes(read_environment(store, run, point.folder))
    tags = changes.accept_changes(changed, force=force, listener=listener)
    expected = run.data.sha256 if run.data is not None and not force else ""
    point = dataclasses.replace(point, tags=tags, data_sha256=expected)
    from mlctl.services.scripts.script_run import run_script  # imports what `mlctl tune` does not need

    listener.message("the script runs again from its first line; its fit continues after the last checkpoint")
    record, resumed = run_script(settings, request, program, listener, point)
    return finish_result(settings, record.store, resumed, register=request.register, listener=listener)


def reproduce_script(
    settings: Settings, store: TrackingStore, run: Run, listener: ProgressListener
) -> tuple[Run, list[str]]:
    """Run a script again as a new run; return it, and why its metrics may differ.

    Raises RefusedError if the script or its modules have changed: that would be another training.
    """
    request = script_request_of(run)
    _use_backend(request)
    program, changed = find_again(
        store, run, request, local_runs.record_folder(settings.state_dir, run.run_id)
    )
    if changed:
        raise RefusedError(
            f"this has changed since the run was made: {', '.join(changed)}",
            f"download the run's script: mlctl runs artifacts {run.run_id[:8]} --get {code_files.SCRIPT_FILE}",
        )
    request = dataclasses.replace(
        request, run_name=None, register=None, tags={"mlctl.reproduces": run.run_id}
    )
    from mlctl.services.scripts.script_run import run_script

    _, new_run = run_script(settings, request, program, listener)
    reasons = []
    if run.data and new_run.data and run.data.sha256 != new_run.data.sha256:
        reasons.append(f"data (SHA-256 {run.data.sha256[:12]} then, {new_run.data.sha256[:12]} now)")
    if SEED_TAG not in new_run.tags:
        reasons.append("no seed: the script does not call keras.utils.set_random_seed; --seed N sets one")
    return new_run, reasons


def find_again(
    store: TrackingStore, run: Run, request: ScriptRequest, folder: Path
) -> tuple[Program, list[str]]:
    """Return the program of a run, and the files of it that have changed; this process goes to the run's directory.

    If the script is gone, the run's own copy is downloaded to `folder`.
    """
    if Path(request.folder).is_dir():
        os.chdir(request.folder)
    try:
        program = find_program(request.script, request.module)
    except NotFoundError:
        if request.module:
            raise
        program = _restored(store, run, request, folder)
    changed = [f"code ({name})" for name in code_files.changed_modules(run, _anchor(program))]
    if run.tags.get(RECIPE_SHA256_TAG) != sha256([program.file]):
        changed.insert(0, f"code ({request.source})")
    return program, changed


def _use_backend(request: ScriptRequest) -> None:
    """Let the script train on the Keras backend of its run, whatever KERAS_BACKEND says now."""
    if request.backend:
        os.environ["KERAS_BACKEND"] = request.backend
    else:
        os.environ.pop("KERAS_BACKEND", None)


def _anchor(program: Program) -> Path:
    """Return a file of the folder that the names of the run's modules are relative to."""
    return program.import_folder / program.file.name


def _restored(store: TrackingStore, run: Run, request: ScriptRequest, folder: Path) -> Program:
    """Download the run's copy of the script, and of the modules beside it."""
    target = folder / "script"
    target.mkdir(parents=True, exist_ok=True)
    if code_files.recorded_digests(run):
        shutil.copytree(
            store.download_artifact(run, code_files.CODE_FOLDER, folder / "download"),
            target,
            dirs_exist_ok=True,
        )
    downloaded = store.download_artifact(run, code_files.SCRIPT_FILE, folder / "download")
    file = Path(shutil.copy(downloaded, target / Path(request.script).name))
    return Program(file=file, import_folder=target)
