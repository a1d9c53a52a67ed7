"""Copy or move runs to another experiment or another store."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlctl.adapters.importing.artifacts import CopiedFiles, copy_folder
from mlctl.adapters.importing.database_target import DatabaseTarget
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.importing import SourceExperiment
from mlctl.domain.run import Run
from mlctl.domain.run_queries import ChangedRuns
from mlctl.domain.tags import COPIED_FROM_TAG
from mlctl.services.runs.select import find_runs
from mlctl.services.server.import_store import import_store, open_source
from mlctl.settings import check_tracking_uri, with_installed_driver


def copy_runs(
    tracking_uri: str, selectors: Sequence[str], to: str, *, move: bool = False, experiment: str | None = None
) -> ChangedRuns:
    """Copy runs to an experiment of this store, or to the store of a URI; return them as they are there.

    To another store, ids stay, and logged models are copied, too. A copy in the same store has an id of its own and
    refers to the same logged models. `move` changes the experiment of a run in the same store, and deletes the
    original of one in another store.

    Raises ConfigurationError if the store that is written to is no database.
    """
    store = TrackingStore(tracking_uri)
    runs = find_runs(store, selectors, experiment)
    ids = [run.run_id for run in runs]
    if "://" in to:
        target = with_installed_driver(check_tracking_uri(to, "--to"))
        import_store(tracking_uri, target, runs=ids)
        changed = [TrackingStore(target).get_run(run_id) for run_id in ids]
        if move:
            for run in runs:
                store.delete_run(run)
        return ChangedRuns(tuple(changed), f"{_verb(move)} to {to}")
    opened = DatabaseTarget(tracking_uri)
    key, location, _ = opened.experiment(SourceExperiment(key="", name=to))
    if move:
        opened.move_runs(ids, key)
    else:
        ids = [_copy(tracking_uri, opened, run, key, location) for run in runs]
    store = TrackingStore(tracking_uri)
    return ChangedRuns(tuple(store.get_run(run_id) for run_id in ids), f"{_verb(move)} to {to}")


def _copy(tracking_uri: str, target: DatabaseTarget, run: Run, experiment_id: str, location: str) -> str:
    """Copy a run to an experiment of the same store; return the copy's id."""
    source, new_id = open_source(tracking_uri), uuid.uuid4().hex
    (found,) = source.runs(SourceExperiment(key=experiment_id, name=""), [run.run_id])
    artifact_uri = f"{location}/{new_id}/artifacts"
    with tempfile.TemporaryDirectory(prefix="mlctl-copy-") as folder:
        if fetched := source.fetch(found.artifact_uri, Path(folder)):
            copy_folder(fetched, artifact_uri, CopiedFiles())
    tags = {**found.tags, COPIED_FROM_TAG: run.run_id}
    target.add_runs(experiment_id, [(replace(found, run_id=new_id, tags=tags), artifact_uri)])
    return new_id


def _verb(move: bool) -> str:
    return "moved" if move else "copied"
