"""Deleted runs, experiments and models: find those that nothing uses any more, and purge them."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from typing import Any

from mlctl.adapters.database.connection import give_password, list_workspaces_in_use, open_connection, select
from mlctl.domain.server import Backend


@dataclass(frozen=True, kw_only=True)
class DeletedItem:
    """A deleted run, model or experiment (`kind`) and the location of its artifacts."""

    kind: str
    id: str
    location: str
    experiment_id: str
    workspace: str = "default"


@dataclass(frozen=True)
class DeletedItems:
    """The deleted items of a database.

    Args:
        items: What can be purged.
        held: Texts that name a deleted run or model and the registered version that still needs it.
        kept_locations: Artifact locations of everything that stays.
        recent: Number of deleted items that stay because they were deleted too recently.
    """

    items: list[DeletedItem]
    held: list[str]
    kept_locations: list[str]
    recent: int = 0


def find_deleted_items(backend: Backend, *, deleted_before_ms: int | None = None) -> DeletedItems:
    """Return what can be purged, what a registered version still needs, and the locations of all that stays.

    A deleted run goes with the models that it made, a deleted experiment with everything in it. A version needs the
    run that it names as its own or as its source, and the model that it was made from.

    Args:
        backend: The database.
        deleted_before_ms: Only what was deleted before this time can be purged. A run or an experiment whose time of
            deletion is unknown stays then.
    """
    with open_connection(backend) as connection:
        versions = select(
            connection,
            "SELECT name, version, coalesce(source, ''), coalesce(storage_location, ''), coalesce(run_id, '')"
            " FROM model_versions WHERE current_stage <> 'Deleted_Internal'",
        )
        experiments = select(
            connection,
            "SELECT experiment_id, artifact_location, lifecycle_stage, last_update_time, workspace FROM experiments",
        )
        runs = select(
            connection,
            "SELECT run_uuid, artifact_uri, experiment_id, lifecycle_stage, deleted_time FROM runs",
        )
        models = select(
            connection,
            "SELECT model_id, artifact_location, experiment_id, lifecycle_stage, coalesce(source_run_id, ''),"
            " last_updated_timestamp_ms FROM logged_models",
        )
    version_of = _needed_ids(versions)
    needed = version_of.keys()
    deleted_experiments = {str(row[0]): row[3] for row in experiments if row[2] == "deleted"}
    deleted_runs = {
        row[0]: row[4] if row[3] == "deleted" else deleted_experiments[str(row[2])]
        for row in runs
        if row[3] == "deleted" or str(row[2]) in deleted_experiments
    }
    deleted_models = {
        row[0]: _earliest(
            row[5] if row[3] == "deleted" else None,
            deleted_experiments.get(str(row[2])),
            None if row[4] in needed else deleted_runs.get(row[4]),
        )
        for row in models
        if row[3] == "deleted" or str(row[2]) in deleted_experiments or row[4] in deleted_runs.keys() - needed
    }
    recent = {
        item_id
        for item_id, deleted_ms in (*deleted_runs.items(), *deleted_models.items())
        if item_id not in needed and not _is_before(deleted_ms, deleted_before_ms)
    }
    held_ids = (deleted_runs.keys() | deleted_models.keys()) & needed
    experiments_in_use = {str(row[2]) for row in (*runs, *models) if row[0] in held_ids | recent}
    recent_experiments = {
        experiment_id
        for experiment_id, deleted_ms in deleted_experiments.items()
        if not _is_before(deleted_ms, deleted_before_ms)
    }
    purgeable = {
        "run": deleted_runs.keys() - needed - recent,
        "model": deleted_models.keys() - needed - recent,
        "experiment": deleted_experiments.keys() - experiments_in_use - recent_experiments,
    }
    workspaces = {str(row[0]): row[4] for row in experiments}
    rows_by_kind = {"run": runs, "model": models, "experiment": experiments}
    items, kept_locations = [], []
    for kind, rows in rows_by_kind.items():
        for row in rows:
            item_id, location = str(row[0]), row[1] or ""
            if item_id in purgeable[kind]:
                experiment_id = item_id if kind == "experiment" else str(row[2])
                items.append(
                    DeletedItem(
                        kind=kind,
                        id=item_id,
                        location=location,
                        experiment_id=experiment_id,
                        workspace=workspaces[experiment_id],
                    )
                )
            else:
                kept_locations.append(location)
    kept_locations += [location for row in versions for location in row[2:4]]
    return DeletedItems(
        items,
        sorted(f"{item_id}, for {version_of[item_id]}" for item_id in held_ids),
        [location for location in kept_locations if location],
        len(recent) + len(recent_experiments),
    )


def purge(backend: Backend, items: list[DeletedItem]) -> None:
    """Delete the rows of these items permanently; experiments go last, because the others refer to them."""
    give_password(backend)
    workspaces = list_workspaces_in_use(backend)
    if workspaces:
        os.environ["MLFLOW_ENABLE_WORKSPACES"] = "true"
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
    from mlflow.utils.workspace_context import WorkspaceContext

    open_store = WorkspaceAwareSqlAlchemyStore if workspaces else SqlAlchemyStore
    store = open_store(backend.uri, "mlflow-artifacts:/")
    for kind, delete in (
        ("run", store._hard_delete_run),
        ("model", store._hard_delete_logged_model),
        ("experiment", store._hard_delete_experiment),
    ):
        for item in items:
            if item.kind == kind:
                with WorkspaceContext(item.workspace) if workspaces else contextlib.nullcontext():
                    delete(item.id)
    store.engine.dispose()


def _earliest(*times_ms: int | None) -> int | None:
    return min((time_ms for time_ms in times_ms if time_ms is not None), default=None)


def _is_before(time_ms: int | None, limit_ms: int | None) -> bool:
    return limit_ms is None or (time_ms is not None and time_ms <= limit_ms)


def _needed_ids(versions: list[Any]) -> dict[str, str]:
    """Return the ids of runs and models that registered versions need, each with one "NAME/VERSION"."""
    version_of: dict[str, str] = {}
    for name, number, source, storage, run_id in versions:
        for item_id in {run_id, *re.findall(r"m-[0-9a-f]{32}|[0-9a-f]{32}", f"{source} {storage}")}:
            version_of.setdefault(item_id, f"{name}/{number}")
    return version_of
