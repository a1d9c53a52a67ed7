"""Deleted runs, experiments and models: which are nobody's any more, and taking them away for ever."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from mlctl.adapters.database.connection import opened, select
from mlctl.domain.server import Backend


@dataclass(frozen=True)
class DeletedItem:
    """One deleted thing: what it is, its id, where its artifacts are, and its experiment."""

    kind: str
    id: str
    location: str
    experiment_id: str


@dataclass(frozen=True)
class DeletedItems:
    """What can be taken away; in words, what is deleted but held by a version; where all that stays is."""

    graves: list[DeletedItem]
    held: list[str]
    living: list[str]


def deleted(backend: Backend) -> DeletedItems:
    """Return what can be taken away, what is still held by a registered version, and the places of all that stays.

    A run goes with the models that it made; an experiment with all that is in it. Held is a run that a version
    names as its own or as its source, and a model that a version was made from.
    """
    with opened(backend) as connection:
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
    holders: dict[str, str] = {}
    for name, number, source, storage, run in versions:
        for one in {run, *re.findall(r"m-[0-9a-f]{32}|[0-9a-f]{32}", f"{source} {storage}")}:
            holders.setdefault(one, f"{name}/{number}")
    dead = {str(one[0]) for one in experiments if one[2] == "deleted"}
    dead_runs = {one[0] for one in runs if "deleted" in one[3:]}
    dead_models = {
        one[0]
        for one in models
        if one[3] == "deleted" or str(one[2]) in dead or one[4] in dead_runs - holders.keys()
    }
    graves = [
        DeletedItem("run", one[0], one[1] or "", str(one[2]))
        for one in runs
        if one[0] in dead_runs - holders.keys()
    ]
    graves += [
        DeletedItem("model", one[0], one[1] or "", str(one[2]))
        for one in models
        if one[0] in dead_models - holders.keys()
    ]
    held = {one: holders[one] for one in (dead_runs | dead_models) & holders.keys()}
    occupied = {str(one[2]) for one in (*runs, *models) if one[0] in held}
    graves += [
        DeletedItem("experiment", str(one[0]), one[1] or "", str(one[0]))
        for one in experiments
        if str(one[0]) in dead - occupied
    ]
    gone = {(one.kind, one.id) for one in graves}
    living = [
        one[1]
        for kind, rows in (("experiment", experiments), ("run", runs), ("model", models))
        for one in rows
        if (kind, str(one[0])) not in gone
    ]
    living += [place for one in versions for place in one[2:4]]
    return DeletedItems(
        graves,
        sorted(f"{one}, for {version}" for one, version in held.items()),
        [place for place in living if place],
    )


def purge(backend: Backend, graves: list[DeletedItem]) -> None:
    """Take the rows of these away for ever; experiments go last, since the others are in them."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if backend.password:
        os.environ["PGPASSWORD"] = backend.password  # where libpq looks; MLflow takes only a URI
    store = SqlAlchemyStore(backend.uri, "mlflow-artifacts:/")
    for kind, remove in (
        ("run", store._hard_delete_run),
        ("model", store._hard_delete_logged_model),
        ("experiment", store._hard_delete_experiment),
    ):
        for grave in graves:
            if grave.kind == kind:
                remove(grave.id)
    store.engine.dispose()
