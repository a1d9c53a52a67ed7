"""Copy or move runs to another experiment or another store."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlctl.adapters.importing.artifacts import CopiedFiles, copy_folder
from mlctl.adapters.importing.database_target import DatabaseTarget
from mlctl.adapters.importing.server_artifacts import ServerArtifacts
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.importing import SourceExperiment
from mlctl.domain.run import Run
from mlctl.domain.run_queries import ChangedRuns, Condition, RunField
from mlctl.domain.tags import COPIED_FROM_TAG
from mlctl.errors import RefusedError
from mlctl.services.runs.select import find_runs
from mlctl.services.server.import_store import import_store, open_source
from mlctl.settings import Settings, check_tracking_uri, with_installed_driver

RUNNING, PARENT_TAG = "RUNNING", "mlflow.parentRunId"


def copy_runs(
    settings: Settings,
    selectors: Sequence[str],
    to: str,
    *,
    move: bool = False,
    experiment: str | None = None,
) -> ChangedRuns:
    """Copy runs to an experiment of this store, or to the store of a URI; return them as they are there.

    The nested runs of a run, such as the trials of a search, go with it. To another store, ids stay, and logged
    models are copied, too. A copy in the same store has an id of its own and refers to the same logged models. `move`
    changes the experiment of a run in the same store, and deletes the original of one in another store.

    Raises ConfigurationError if the store that is written to is no database, and RefusedError if a run that still
    runs, or whose model is registered, would be deleted here.
    """
    tracking_uri, state_dir = settings.tracking_uri, settings.state_dir
    store = TrackingStore(tracking_uri)
    runs = find_runs(store, selectors, experiment)
    ids = [run.run_id for run in runs]
    everything = _with_nested(store, runs)
    all_ids = [run.run_id for run in everything]
    if "://" in to:
        target = with_installed_driver(check_tracking_uri(to, "--to"))
        if move:
            _require_deletable(store, everything)
        import_store(tracking_uri, target, runs=all_ids, state_dir=state_dir)
        changed = [TrackingStore(target).get_run(run_id) for run_id in ids]
        if move:
            for run in everything:
                store.delete_run(run)
        return ChangedRuns(tuple(changed), f"{_verb(move)} to {to}")
    opened = DatabaseTarget(tracking_uri)
    artifacts = ServerArtifacts(tracking_uri, state_dir)
    key, location, _ = opened.experiment(SourceExperiment(key="", name=to), artifact_root=artifacts.root)
    if move:
        opened.move_runs(all_ids, key)
    else:
        new_ids: dict[str, str] = {}
        for run in everything:
            new_ids[run.run_id] = _copy(tracking_uri, opened, artifacts, run, key, location, new_ids)
        ids = [new_ids[run_id] for run_id in ids]
    store = TrackingStore(tracking_uri)
    return ChangedRuns(tuple(store.get_run(run_id) for run_id in ids), f"{_verb(move)} to {to}")


def _with_nested(store: TrackingStore, runs: Sequence[Run]) -> list[Run]:
    """Return runs and all runs that are nested in them, each once, and parents before their children."""
    found = {run.run_id: run for run in sorted(runs, key=lambda run: run.parent_run_id is not None)}
    waiting = list(found.values())
    while waiting:
        parent = waiting.pop(0)
        is_nested = Condition(RunField("tag", PARENT_TAG), "=", parent.run_id)
        for nested in store.search_runs([is_nested], experiment=parent.experiment):
            if nested.run_id not in found and nested.parent_run_id == parent.run_id:
                found[nested.run_id] = nested
                waiting.append(nested)
    return list(found.values())


def _require_deletable(store: TrackingStore, runs: Sequence[Run]) -> None:
    for run in runs:
        name = f"run {run.run_name} ({run.run_id[:8]})"
        if run.status == RUNNING:
            raise RefusedError(
                f"{name} is still running, and the move would delete it here",
                f"stop it first: mlctl runs stop {run.run_id[:8]}",
            )
        if versions := store.list_registered_versions(run):
            raise RefusedError(
                f"the model of {name} is registered as {', '.join(versions)}, and the move would delete it here",
                f"copy the run: mlctl runs copy; or the model: mlctl models copy {versions[0].replace(' version ', '/')}",
            )


def _copy(
    tracking_uri: str,
    target: DatabaseTarget,
    artifacts: ServerArtifacts,
    run: Run,
    experiment_id: str,
    location: str,
    new_ids: Mapping[str, str],
) -> str:
    """Copy a run to an experiment of the same store; return the copy's id.

    `new_ids` are those of earlier copies, one of which may be its parent.
    """
    source, new_id = open_source(tracking_uri), uuid.uuid4().hex
    (found,) = source.runs(SourceExperiment(key=experiment_id, name=""), [run.run_id])
    artifact_uri = f"{location}/{new_id}/artifacts"
    with tempfile.TemporaryDirectory(prefix="mlctl-copy-") as folder:
        if fetched := source.fetch(artifacts.resolve(found.artifact_uri), Path(folder)):
            copy_folder(fetched, artifacts.resolve(artifact_uri), CopiedFiles())
    tags = {**found.tags, COPIED_FROM_TAG: run.run_id}
    if parent := new_ids.get(run.parent_run_id or ""):
        tags[PARENT_TAG] = parent
    target.add_runs(experiment_id, [(replace(found, run_id=new_id, tags=tags), artifact_uri)])
    return new_id


def _verb(move: bool) -> str:
    return "moved" if move else "copied"
