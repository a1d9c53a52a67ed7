"""mlctl resume: go on with a run that was killed, interrupted, or that failed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlctl.adapters.keras import checkpoints
from mlctl.adapters.runlog import local_runs
from mlctl.adapters.runlog.journal import Journal, read_about
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.automl import Automl
from mlctl.domain.run import Run
from mlctl.domain.tune import TRIAL_TAG, Search, SearchListener
from mlctl.errors import NotFoundError, RefusedError, UsageError
from mlctl.services.recipes import prepare
from mlctl.services.runs import select
from mlctl.services.training import changes
from mlctl.services.training.request import Request, ResumePoint
from mlctl.services.workflows import automl, tune
from mlctl.services.workflows.train import run_training
from mlctl.settings import Settings

EPOCHS = "mlctl.epochs"  # the tag of a run that was resumed for more epochs than it was begun with


def resume(
    settings: Settings, selector: str, epochs: int | None, force: bool, listener: SearchListener,
    trials: int | None = None,
) -> Run | Search | Automl:  # fmt: skip
    """Go on where a run's newest checkpoint is, or a search's journal ends; a finished run answers with itself.

    `trials` raises the number of an unfinished search's trials.

    Raises UsageError for `trials` of a training and for `epochs` of a search, RefusedError where it is alive, or
    where data, code or versions have changed (`force` records what has, and goes on), NotFoundError where there
    is no such run or nothing to go on from.
    """
    run, folder = _found(settings, selector)
    kind = run.tags.get(tune.KIND_TAG)
    if trials and kind != tune.SEARCH:
        raise UsageError(f"--trials is for a search, and run {run.run_id[:8]} is none", "leave it out")
    if epochs and kind in {tune.SEARCH, automl.AUTOML}:
        raise UsageError(
            f"--epochs is for a training, and run {run.run_id[:8]} is none",
            "leave it out" if kind == automl.AUTOML else "leave it out; --trials N adds trials",
        )
    if kind == tune.SEARCH and (run.status != "FINISHED" or trials):
        return tune.resume(settings, run, listener, trials, force)
    if kind == automl.AUTOML and run.status != "FINISHED":
        return automl.resume(settings, run, listener)
    if run.status == "FINISHED":
        listener.message(f"run {run.run_id[:8]} is finished")
        return run
    about = read_about(folder)
    known: frozenset[tuple[str, int]] = frozenset()
    if about:
        _refuse_if_written(folder)
    else:
        if run.status == "RUNNING":
            raise RefusedError(
                f"run {run.run_id[:8]} is alive on another machine",
                "it is LOST a minute after its last sign of life",
            )
        about, known = fetched(settings, run, folder)
    request = request_of(run)
    changed: list[str] = []
    source = changes.recipe_source(settings, run, request.source, folder, changed)
    tags = {EPOCHS: str(epochs)} if epochs else {}
    given = {**given_to(run), **({"epochs": epochs} if epochs else {})}
    recipe, values = prepare.recipe_values(source, given)
    _check_epochs(run, values)
    changed += changes.versions_changed(run)
    prepared = prepare.prepare(settings, recipe, values, request.data, request.rows, listener)
    tags |= changes.accepted(changed + changes.data_changed(run, prepared), force, listener)
    return run_training(settings, request, prepared, listener, ResumePoint(folder, about, known, tags))


def request_of(run: Run) -> Request:
    """Return what a run was asked for; raises NotFoundError for one that mlctl did not train."""
    if "mlctl.request" not in run.tags or run.tags.get(tune.KIND_TAG) == automl.AUTOML:
        raise NotFoundError(f"run {run.run_id[:8]} was not made by mlctl train", "train anew: mlctl train")
    return Request(**json.loads(run.tags["mlctl.request"]))


def given_to(run: Run) -> dict[str, Any]:
    """Return what was set on a run's recipe, with the epochs that a resume has added."""
    more = {"epochs": run.tags[EPOCHS]} if EPOCHS in run.tags else {}
    return {**request_of(run).given, **more}


def _found(settings: Settings, selector: str) -> tuple[Run, Path]:
    """Return the run and where its record is, or would be; an offline run has nothing but its record."""
    for path in local_runs.folders(settings.state_dir):
        if path.name.startswith(selector) and len(selector) >= 4 and not read_about(path).get("run_id"):
            journal = Journal(path)
            journal.close()
            return local_runs.as_run(journal), path
    store = TrackingStore(settings.tracking_uri)
    run = select.find(store, selector)
    if TRIAL_TAG in run.tags:  # what can be gone on with is its search
        run = store.run(run.tags["mlflow.parentRunId"])
    return run, local_runs.folder_of(settings.state_dir, run.run_id)


def _refuse_if_written(folder: Path) -> None:
    Journal(folder).close()


def fetched(settings: Settings, run: Run, folder: Path) -> tuple[dict[str, Any], frozenset[tuple[str, int]]]:
    """Bring a run's checkpoint from the store; return whose record it is and what the store has of it.

    Whoever asks knows that nobody writes the run any more.
    """
    store = TrackingStore(settings.tracking_uri)
    if any(one.path == checkpoints.SHARED for one in store.artifacts(run)):
        shared = store.download(run, checkpoints.SHARED, folder / "files")
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        for file in shared.rglob("*.ckpt"):
            shutil.copy(file, folder / "checkpoints")
    known = {(name, step) for name in run.metrics for step, _ in store.history(run.run_id, name)}
    about = {
        "tracking_uri": settings.tracking_uri,
        "experiment": run.experiment,
        "experiment_id": store.experiment_ids(run.experiment)[0],
        "run_id": run.run_id,
        "run_name": run.run_name,
        "tags": {name: value for name, value in run.tags.items() if name.startswith("mlctl.")},
        "began": int(run.started_at.timestamp() * 1000) if run.started_at else 0,
    }
    return about, frozenset(known)


def _check_epochs(run: Run, values: Mapping[str, Any]) -> None:
    before = int(run.tags.get(EPOCHS) or run.params.get("epochs", values["epochs"]))
    if values["epochs"] != before and values["schedule"] != "constant":
        raise RefusedError(
            f"the {values['schedule']} schedule was laid out over {before} epochs",
            "train anew with more, or with --set schedule=constant",
        )
