"""mlctl resume: continue a run that was killed, interrupted or that failed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlctl.adapters.runlog import local_runs
from mlctl.adapters.runlog.journal import Journal, read_header
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.automl import AutomlResult
from mlctl.domain.run import FinishedRun, Run
from mlctl.domain.tags import AUTOML, KIND_TAG, REQUEST_TAG, TRIAL_TAG
from mlctl.domain.tune import SearchListener, SearchResult
from mlctl.errors import NotFoundError, RefusedError, UsageError
from mlctl.recipes.recipe import has_phases
from mlctl.services.recipes.prepare import PreparedData, check_values, prepare
from mlctl.services.runs import select
from mlctl.services.runs.environment import read_environment
from mlctl.services.training import changes
from mlctl.services.training.request import TrainRequest
from mlctl.services.training.resume_point import ResumePoint, fetch_resume_point
from mlctl.services.tuning.request import SEARCH
from mlctl.services.workflows import automl, tune
from mlctl.services.workflows.run_training import run_training
from mlctl.services.workflows.script_again import is_script_run, resume_script
from mlctl.settings import Settings

EPOCHS_TAG = "mlctl.epochs"  # on a run that was resumed with more epochs than it was started with


def resume(
    settings: Settings,
    selector: str,
    *,
    epochs: int | None = None,
    trials: int | None = None,
    force: bool = False,
    listener: SearchListener,
) -> Run | FinishedRun | SearchResult | AutomlResult:
    """Continue a training after its newest checkpoint, a search or an automl run after its journal's last line.

    `epochs` raises the number of epochs of a training, `trials` that of trials of an unfinished search. `force`
    continues although data, code or versions have changed; the run records the changes. A finished run is
    left as it is.

    Raises UsageError for `trials` of a training and for `epochs` of a search, RefusedError if the run is still
    written or something has changed, NotFoundError if there is no such run or nothing to resume from.
    """
    store = TrackingStore(settings.tracking_uri)
    run, folder = _find(settings, store, selector)
    kind = run.tags.get(KIND_TAG)
    _check_options(run, kind, epochs=epochs, trials=trials)
    if kind == SEARCH and (run.status != "FINISHED" or trials):
        return tune.resume(settings, store, run, trials=trials, force=force, listener=listener)
    if kind == AUTOML and run.status != "FINISHED":
        return automl.resume(settings, store, run, listener)
    if run.status == "FINISHED":
        return FinishedRun(run)
    point = _resume_point(store, run, folder)
    if is_script_run(run):
        return resume_script(settings, store, run, point, epochs=epochs, force=force, listener=listener)
    request = request_of(run)
    added = {"epochs": epochs} if epochs else {}
    _, resolved, changed = changes.resolve_recipe(store, run, request.source, folder)
    values = check_values(resolved, {**overrides_of(run), **added})
    if not has_phases(resolved.recipe):
        _check_schedule(run, values, values["epochs"])
    prepared = prepare(settings, resolved, values, data=request.data, rows=request.rows, listener=listener)
    if has_phases(resolved.recipe):  # they may depend on the data
        _check_schedule(run, values, _epochs_of_phases(prepared))
    changed += [
        *changes.version_changes(read_environment(store, run, folder)),
        *changes.data_changes(run, prepared),
    ]
    tags = {
        **({EPOCHS_TAG: str(epochs)} if epochs else {}),
        **changes.accept_changes(changed, force=force, listener=listener),
    }
    return run_training(
        settings,
        request,
        prepared,
        listener=listener,
        store=store,
        resume_point=dataclasses.replace(point, tags=tags),
    )


def request_of(run: Run) -> TrainRequest:
    """Return the request of a run; raises NotFoundError if `mlctl train` did not make the run."""
    if REQUEST_TAG not in run.tags or run.tags.get(KIND_TAG) == AUTOML:
        raise NotFoundError(
            f"run {run.run_id[:8]} was not made by mlctl train", "train a new one: mlctl train"
        )
    return TrainRequest.from_tag(json.loads(run.tags[REQUEST_TAG]))


def overrides_of(run: Run) -> dict[str, Any]:
    """Return what was set on a run's recipe, with the epochs that a resume has added."""
    added = {"epochs": run.tags[EPOCHS_TAG]} if EPOCHS_TAG in run.tags else {}
    return {**request_of(run).overrides, **added}


def _check_options(run: Run, kind: str | None, *, epochs: int | None, trials: int | None) -> None:
    if trials and kind != SEARCH:
        raise UsageError(f"--trials is for a search, and run {run.run_id[:8]} is not one", "remove --trials")
    if epochs and kind in {SEARCH, AUTOML}:
        raise UsageError(
            f"--epochs is for a training, and run {run.run_id[:8]} is not one",
            "remove --epochs" if kind == AUTOML else "remove --epochs; --trials N adds trials",
        )


def _find(settings: Settings, store: TrackingStore, selector: str) -> tuple[Run, Path]:
    """Return the run and the folder of its record; an offline run exists only as a record."""
    for folder in local_runs.record_folders(settings.state_dir):
        if folder.name.startswith(selector) and len(selector) >= 4 and not read_header(folder).get("run_id"):
            journal = Journal(folder)
            journal.close()
            return local_runs.to_run(journal), folder
    run = select.find_run(store, selector)
    if TRIAL_TAG in run.tags:  # a trial is resumed with its search
        run = store.get_run(run.tags["mlflow.parentRunId"])
    return run, local_runs.record_folder(settings.state_dir, run.run_id)


def _resume_point(store: TrackingStore, run: Run, folder: Path) -> ResumePoint:
    """Return where the run's record on this machine ends, or what the store has if there is no record.

    Raises RefusedError if another process or another machine is still writing the run.
    """
    if header := read_header(folder):
        Journal(folder).close()  # raises RefusedError if another process has it open
        return ResumePoint(folder=folder, header=header)
    if run.status == "RUNNING":
        raise RefusedError(
            f"run {run.run_id[:8]} is alive on another machine",
            "wait: it counts as LOST a minute after its last heartbeat",
        )
    return fetch_resume_point(store, run, folder)


def _epochs_of_phases(prepared: PreparedData) -> int:
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    with runtime.fast_imports():
        from mlctl.services.training.phases import recipe_phases

    return sum(phase.epochs for phase in recipe_phases(prepared.recipe, prepared.values, prepared.data))


def _check_schedule(run: Run, values: Mapping[str, Any], epochs: int) -> None:
    """Raise RefusedError if the number of epochs changes and a schedule spans all epochs."""
    before = int(run.tags.get(EPOCHS_TAG) or run.params.get("epochs") or epochs)
    if epochs != before and values["schedule"] != "constant":
        raise RefusedError(
            f"the {values['schedule']} schedule spans {before} epochs",
            "train a new run with more epochs, or with --set schedule=constant",
        )
