"""Deleted runs, experiments and models: find those that nothing uses any more, and purge them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from mlctl.adapters.database.connection import open_connection, select
from mlctl.domain.server import Backend


@dataclass(frozen=True, kw_only=True)
class DeletedItem:
    """A deleted run, model or experiment (`kind`) and the location of its artifacts."""

    kind: str
    id: str
    location: str
    experiment_id: str


@dataclass(frozen=True)
class DeletedItems:
    """The deleted items of a database.

    Args:
        items: What can be purged.
        held: Texts that name a deleted run or model and the registered version that still needs it.
        kept_locations: Artifact locations of everything that stays.
    """

    items: list[DeletedItem]
    held: list[str]
    kept_locations: list[str]


def find_deleted_items(backend: Backend) -> DeletedItems:
    """Return what can be purged, what a registered version still needs, and the locations of all that stays.

    A deleted run goes with the models that it made, a deleted experiment with everything in it. A version needs the
    run that it names as its own or as its source, and the model that it was made from.
    """
    with open_connection(backend) as connection:
        versions = select(
            connection,
            "SELECT name, version, coalesce(source, ''), coalesce(storage_location, ''), coalesce(run_id, '')"
            " FROM model_versions WHERE current_stage <> 'Deleted_Internal'",
        )
        experiments = select(
            connection,
            "SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments",
        )
        runs = select(
            connection,
            "SELECT run_uuid, artifact_uri, runs.experiment_id, runs.lifecycle_stage, experiments.lifecycle_stage"
            " FROM runs JOIN experiments ON runs.experiment_id = experiments.experiment_id",
        )
        models = select(
            connection,
            "SELECT model_id, artifact_location, experiment_id, lifecycle_stage, coalesce(source_run_id, '')"
            " FROM logged_models",
        )
    version_of = _needed_ids(versions)
    needed = version_of.keys()
    deleted_experiments = {str(row[0]) for row in experiments if row[2] == "deleted"}
    deleted_runs = {row[0] for row in runs if "deleted" in row[3:]}
    deleted_models = {
        row[0]
        for row in models
        if row[3] == "deleted" or str(row[2]) in deleted_experiments or row[4] in deleted_runs - needed
    }
    held_ids = (deleted_runs | deleted_models) & needed
    experiments_in_use = {str(row[2]) for row in (*runs, *models) if row[0] in held_ids}
    purgeable = {
        "run": deleted_runs - needed,
        "model": deleted_models - needed,
        "experiment": deleted_experiments - experiments_in_use,
    }
    rows_by_kind = {"run": runs, "model": models, "experiment": experiments}
    items, kept_locations = [], []
    for kind, rows in rows_by_kind.items():
        for row in rows:
            item_id, location = str(row[0]), row[1] or ""
            if item_id in purgeable[kind]:
                experiment_id = item_id if kind == "experiment" else str(row[2])
                items.append(
                    DeletedItem(kind=kind, id=item_id, location=location, experiment_id=experiment_id)
                )
            else:
                kept_locations.append(location)
    kept_locations += [location for row in versions for location in row[2:4]]
    return DeletedItems(
        items,
        sorted(f"{item_id}, for {version_of[item_id]}" for item_id in held_ids),
        [location for location in kept_locations if location],
    )


def purge(backend: Backend, items: list[DeletedItem]) -> None:
    """Delete the rows of these items permanently; experiments go last, because the others refer to them."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if backend.password:
        os.environ["PGPASSWORD"] = backend.password  # libpq reads it; MLflow takes only a URI
    store = SqlAlchemyStore(backend.uri, "mlflow-artifacts:/")
    for kind, delete in (
        ("run", store._hard_delete_run),
        ("model", store._hard_delete_logged_model),
        ("experiment", store._hard_delete_experiment),
    ):
        for item in items:
            if item.kind == kind:
                delete(item.id)
    store.engine.dispose()


def _needed_ids(versions: list[Any]) -> dict[str, str]:
    """Return the ids of runs and models that registered versions need, each with one "NAME/VERSION"."""
    version_of: dict[str, str] = {}
    for name, number, source, storage, run_id in versions:
        for item_id in {run_id, *re.findall(r"m-[0-9a-f]{32}|[0-9a-f]{32}", f"{source} {storage}")}:
            version_of.setdefault(item_id, f"{name}/{number}")
    return version_of
