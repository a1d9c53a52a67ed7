"""Read a tracking database of MLflow, also one of an older version: a SQLite file or PostgreSQL."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlctl.adapters.importing.artifacts import fetch_folder
from mlctl.adapters.tracking.clients.connection import KEYS_PER_QUERY, Database, database_errors
from mlctl.domain.importing import (
    Point,
    SourceDataset,
    SourceExperiment,
    SourceModel,
    SourceRegisteredModel,
    SourceRun,
    SourceVersion,
)
from mlctl.errors import BadDataError
from mlctl.settings import mask_passwords

ACTIVE = "lifecycle_stage = 'active'"
Rows = Mapping[str, list[tuple[Any, ...]]]


class DatabaseSource:
    """A tracking database.

    Attributes:
        notes: What could not be read.
    """

    def __init__(self, uri: str) -> None:
        """Open a database. Raises BadDataError if it holds no MLflow store."""
        self.database, self.notes = Database(uri), list[str]()
        if self.database.revision() is None:
            raise BadDataError(f"{mask_passwords(uri)} holds no MLflow store", "check its path")

    def experiments(self) -> Sequence[SourceExperiment]:
        """Return all experiments, by their id."""
        rows = self.database.read(
            f"SELECT experiment_id, name, creation_time FROM experiments WHERE {ACTIVE} ORDER BY experiment_id"  # noqa: S608
        )
        tags: dict[str, dict[str, str]] = {}
        for key, name, value in self._read("SELECT experiment_id, key, value FROM experiment_tags"):
            tags.setdefault(str(key), {})[name] = value or ""
        return [
            SourceExperiment(key=str(key), name=name, created=created, tags=tags.get(str(key), {}))
            for key, name, created in rows
        ]

    def run_ids(self, experiment: SourceExperiment) -> Sequence[str]:
        """Return the ids of an experiment's runs, oldest first."""
        query = (
            f"SELECT run_uuid FROM runs WHERE experiment_id = ? AND {ACTIVE} ORDER BY start_time, run_uuid"  # noqa: S608
        )
        return [run_id for (run_id,) in self.database.read(query, [int(experiment.key)])]

    def runs(self, experiment: SourceExperiment, run_ids: Sequence[str]) -> Iterator[SourceRun]:
        """Yield these runs."""
        for start in range(0, len(run_ids), KEYS_PER_QUERY):
            yield from self._some_runs(run_ids[start : start + KEYS_PER_QUERY])

    def models(self, experiment: SourceExperiment) -> Sequence[SourceModel]:
        """Return the logged models of an experiment; an old database has none."""
        rows = self._read(
            "SELECT model_id, name, artifact_location, creation_timestamp_ms, last_updated_timestamp_ms, status,"  # noqa: S608  # names are ours
            f" source_run_id, model_type FROM logged_models WHERE experiment_id = ? AND {ACTIVE}",
            [int(experiment.key)],
        )
        ids = [row[0] for row in rows]
        params = self._grouped(
            "SELECT model_id, param_key, param_value FROM logged_model_params", "model_id", ids
        )
        tags = self._grouped("SELECT model_id, tag_key, tag_value FROM logged_model_tags", "model_id", ids)
        points = self._grouped(
            "SELECT model_id, metric_name, metric_value, metric_timestamp_ms, metric_step, run_id"
            " FROM logged_model_metrics",
            "model_id",
            ids,
        )
        return [
            SourceModel(
                model_id=key,
                name=name,
                artifact_uri=location,
                created=created,
                updated=updated,
                status=status,
                run_id=run_id,
                model_type=kind,
                params=dict(params.get(key, ())),
                tags=dict(tags.get(key, ())),
                points=[(Point(*point), run) for *point, run in points.get(key, ())],
            )
            for key, name, location, created, updated, status, run_id, kind in rows
        ]

    def registered_models(self) -> Sequence[SourceRegisteredModel]:
        """Return the registered models, with their versions."""
        models = self._read(
            "SELECT name, creation_time, last_updated_time, description FROM registered_models"
        )
        names = [row[0] for row in models]
        tags = self._grouped("SELECT name, key, value FROM registered_model_tags", "name", names)
        aliases = self._grouped("SELECT name, alias, version FROM registered_model_aliases", "name", names)
        return [
            SourceRegisteredModel(
                name=name,
                created=created,
                updated=updated,
                description=description,
                tags=dict(tags.get(name, ())),
                aliases=dict(aliases.get(name, ())),
                versions=self._versions(name),
            )
            for name, created, updated, description in models
        ]

    def fetch(self, artifact_uri: str, folder: Path) -> Path | None:
        """Return a local folder with these artifacts; None if there are none."""
        return fetch_folder(artifact_uri, folder)

    def _some_runs(self, ids: Sequence[str]) -> Iterator[SourceRun]:
        rows = self._grouped(
            "SELECT run_uuid, name, status, user_id, start_time, end_time, artifact_uri FROM runs",
            "run_uuid",
            ids,
        )
        params = self._grouped("SELECT run_uuid, key, value FROM params", "run_uuid", ids)
        tags = self._grouped("SELECT run_uuid, key, value FROM tags", "run_uuid", ids)
        points = self._grouped(
            "SELECT run_uuid, key, value, timestamp, step, is_nan FROM metrics", "run_uuid", ids
        )
        datasets, models = self._inputs(ids), self._outputs(ids)
        for run_id in ids:
            for name, status, user, started, ended, artifact_uri in rows.get(run_id, ()):
                yield SourceRun(
                    run_id=run_id,
                    name=name or "",
                    status=status,
                    user=user,
                    started=started,
                    ended=ended,
                    artifact_uri=artifact_uri or "",
                    params=dict(params.get(run_id, ())),
                    tags={key: value or "" for key, value in tags.get(run_id, ())},
                    points=[
                        Point(key, math.nan if is_nan else value, timestamp, step)
                        for key, value, timestamp, step, is_nan in points.get(run_id, ())
                    ],
                    datasets=datasets.get(run_id, ()),
                    models=models.get(run_id, ()),
                )

    def _inputs(self, ids: Sequence[str]) -> dict[str, list[SourceDataset]]:
        rows = self._grouped(
            "SELECT i.destination_id, i.input_uuid, d.name, d.digest, d.dataset_source_type, d.dataset_source,"
            " d.dataset_schema, d.dataset_profile FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
            " AND i.source_type = 'DATASET'",
            "i.destination_id",
            ids,
        )
        uuids = [row[0] for found in rows.values() for row in found]
        tags = self._grouped("SELECT input_uuid, name, value FROM input_tags", "input_uuid", uuids)
        return {
            run_id: [
                SourceDataset(
                    name=name,
                    digest=digest,
                    source_type=kind,
                    source=source,
                    schema=schema,
                    profile=profile,
                    tags=dict(tags.get(uuid, ())),
                )
                for uuid, name, digest, kind, source, schema, profile in found
            ]
            for run_id, found in rows.items()
        }

    def _outputs(self, ids: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
        query = "SELECT source_id, destination_id, step FROM inputs"
        rows = self._grouped(query, "source_type = 'RUN_OUTPUT' AND source_id", ids)
        return {run_id: [(model, step) for model, step in found] for run_id, found in rows.items()}

    def _versions(self, name: str) -> list[SourceVersion]:
        rows = self._read(
            "SELECT version, source, run_id, creation_time, last_updated_time, current_stage, description, user_id,"
            " status FROM model_versions WHERE name = ? AND current_stage <> 'Deleted_Internal' ORDER BY version",
            [name],
        )
        tags: dict[int, dict[str, str]] = {}
        for version, key, value in self._read(
            "SELECT version, key, value FROM model_version_tags WHERE name = ?", [name]
        ):
            tags.setdefault(version, {})[key] = value or ""
        locations = dict(
            self._read("SELECT version, storage_location FROM model_versions WHERE name = ?", [name])
        )
        return [
            SourceVersion(
                version=version,
                source=source or "",
                run_id=run_id,
                created=created,
                updated=updated,
                stage=stage or "None",
                description=description,
                user=user,
                status=status or "READY",
                storage_location=locations.get(version),
                tags=tags.get(version, {}),
            )
            for version, source, run_id, created, updated, stage, description, user, status in rows
        ]

    def _grouped(self, query: str, column: str, keys: Sequence[str]) -> Rows:
        try:
            return self.database.read_grouped(f"{query} WHERE {column} IN", keys)
        except database_errors():  # an older schema has no such table
            return {}

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self.database.read(query, values)
        except database_errors():
            return []
