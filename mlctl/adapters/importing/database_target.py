"""Write what another store holds into MLflow's tables: ids and times stay, so an import can be repeated.

A run, with all that belongs to it, is written in one transaction after its artifacts were copied. So a run that the
tables have is complete.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence

from mlctl.adapters.tracking.clients.connection import Database, marks, now_ms
from mlctl.adapters.tracking.clients.database_client import DatabaseClient
from mlctl.adapters.tracking.clients.registry_rows import WORKSPACE
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.importing import (
    Point,
    SourceExperiment,
    SourceModel,
    SourceRegisteredModel,
    SourceRun,
    SourceVersion,
)
from mlctl.errors import ConfigurationError, RefusedError
from mlctl.mysql import is_mysql
from mlctl.settings import mask_passwords

LARGEST = 1.7976931348623157e308  # MLflow's value for infinity
MAX_VALUE_LENGTH = 8000
MODEL_TABLES = ("logged_models", "logged_model_params", "logged_model_tags", "logged_model_metrics")
RUN_PATH = re.compile(r"/([0-9a-zA-Z][\w-]*)/artifacts(/.*)?$")


class DatabaseTarget:
    """The tables of a tracking database.

    Attributes:
        notes: What was left out, or changed, and why.
    """

    def __init__(self, tracking_uri: str, *, create: bool = True) -> None:
        """Open a store; `create` one that does not exist.

        Raises ConfigurationError if it is no database with this MLflow's schema.
        """
        self.notes: list[str] = []
        store = TrackingStore(tracking_uri, create=create)
        self.store, self.exists = store, store.exists
        if not self.exists:
            return
        if create and not store.is_remote:
            store.mlflow_client.search_experiments(max_results=1)  # it creates the tables
            self.store = store = TrackingStore(tracking_uri)
        self.database = _database_of(store, tracking_uri)

    def experiment(
        self, source: SourceExperiment, *, create: bool = True, artifact_root: str | None = None
    ) -> tuple[str, str, bool]:
        """Return the id and the artifact location of the experiment of this name, and whether it is new.

        The artifact location of a new one begins with `artifact_root` if it is given.
        """
        if not self.exists:
            return "", "", True
        query = "SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments WHERE name = ? AND workspace = ?"
        if rows := self.database.read(query, [source.name, WORKSPACE]):
            key, location, stage = rows[0]
            if stage != "active":
                raise RefusedError(
                    f"the experiment {source.name!r} is deleted in this store",
                    f"restore it first: mlctl experiments restore '{source.name}'",
                )
            return str(key), location, False
        if not create:
            return "", "", True
        with self.store.translate_errors():
            key = self.store.mlflow_client.create_experiment(source.name)
        with self.database.write():
            if source.created:
                self.database.execute(
                    "UPDATE experiments SET creation_time = ? WHERE experiment_id = ?",
                    [source.created, int(key)],
                )
            rows = [(name, value, int(key)) for name, value in source.tags.items()]
            self.database.insert_many("experiment_tags", ("key", "value", "experiment_id"), rows)
        if artifact_root:
            self.set_artifact_location(key, f"{artifact_root.rstrip('/')}/{key}")
        return str(key), self.database.read(query, [source.name, WORKSPACE])[0][1], True

    def is_empty(self, experiment_id: str) -> bool:
        """Return whether an experiment has never had a run or a logged model."""
        return not any(
            self.database.read(f"SELECT 1 FROM {table} WHERE experiment_id = ? LIMIT 1", [int(experiment_id)])  # noqa: S608
            for table in ("runs", "logged_models")
        )

    def set_artifact_location(self, experiment_id: str, location: str) -> None:
        """Change where an experiment keeps its artifacts; those that it has stay where they are."""
        with self.database.write():
            self.database.execute(
                "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
                [location, int(experiment_id)],
            )

    def known_runs(self, run_ids: Sequence[str]) -> set[str]:
        """Return which of these runs the store has, deleted ones included."""
        return self._known("runs", "run_uuid", run_ids)

    def known_models(self, model_ids: Sequence[str]) -> set[str]:
        """Return which of these logged models the store has, deleted ones included."""
        return self._known("logged_models", "model_id", model_ids)

    def add_runs(self, experiment_id: str, runs: Iterable[tuple[SourceRun, str]]) -> None:
        """Write runs, each with its new artifact URI, in one transaction."""
        runs, key = list(runs), int(experiment_id)
        columns = (
            "run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status",
            "start_time", "end_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id",
        )  # fmt: skip
        with self.database.write():
            self.database.insert_many(
                "runs",
                columns,
                [
                    (
                        run.run_id, run.name, "UNKNOWN", "", "", run.user or "", run.status, run.started,
                        run.ended, "", "active", uri, key,
                    )
                    for run, uri in runs
                ],
            )  # fmt: skip
            self._insert_values("params", [(run.run_id, run.params) for run, _ in runs])
            names = {run.run_id: {"mlflow.runName": run.name} if run.name else {} for run, _ in runs}
            self._insert_values("tags", [(run.run_id, {**names[run.run_id], **run.tags}) for run, _ in runs])
            self._insert_points(runs)
            for run, _ in runs:
                self._insert_inputs(run, key)

    def add_models(self, experiment_id: str, models: Iterable[tuple[SourceModel, str]]) -> None:
        """Write logged models, each with its new artifact location, in one transaction; their runs come before."""
        key = int(experiment_id)
        with self.database.write():
            for model, location in models:
                self.database.insert_many(
                    "logged_models",
                    (
                        "model_id", "experiment_id", "name", "artifact_location", "creation_timestamp_ms",
                        "last_updated_timestamp_ms", "status", "lifecycle_stage", "model_type", "source_run_id",
                    ),
                    [
                        (
                            model.model_id, key, model.name, location, model.created, model.updated,
                            model.status, "active", model.model_type, model.run_id,
                        )
                    ],
                )  # fmt: skip
                for table, names, values in (
                    ("logged_model_params", ("param_key", "param_value"), model.params),
                    ("logged_model_tags", ("tag_key", "tag_value"), model.tags),
                ):
                    rows = [(model.model_id, key, name, value) for name, value in values.items()]
                    self.database.insert_many(table, ("model_id", "experiment_id", *names), rows)
                known = self.known_runs(sorted({run_id for _, run_id in model.points}))
                self.database.insert_many(
                    "logged_model_metrics",
                    (
                        "model_id", "metric_name", "metric_timestamp_ms", "metric_step", "metric_value",
                        "experiment_id", "run_id",
                    ),
                    [
                        (model.model_id, point.key, point.timestamp, point.step, _stored(point.value)[0], key, run_id)
                        for point, run_id in model.points
                        if run_id in known
                    ],
                )  # fmt: skip

    def add_registered_model(self, model: SourceRegisteredModel) -> tuple[bool, int]:
        """Write a registered model and those of its versions that are missing.

        Return whether the model is new, and the number of new versions.
        """
        key = [WORKSPACE, model.name]
        query = "SELECT version, run_id, source FROM model_versions WHERE workspace = ? AND name = ?"
        present = {version: (run_id, source) for version, run_id, source in self.database.read(query, key)}
        is_new = not self.database.read(
            "SELECT 1 FROM registered_models WHERE workspace = ? AND name = ?", key
        )
        added = []
        for version in model.versions:
            source = self._moved(version)
            if version.version not in present:
                added.append((version, source))
            elif present[version.version][0] != version.run_id:
                self.notes.append(
                    f"{model.name} has a version {version.version} of another run: it stays as it is"
                )
        with self.database.write():
            if is_new:
                columns = ("name", "creation_time", "last_updated_time", "description", "workspace")
                row = (model.name, model.created, model.updated, model.description, WORKSPACE)
                self.database.insert_many("registered_models", columns, [row])
                rows = [(WORKSPACE, model.name, name, value) for name, value in model.tags.items()]
                self.database.insert_many(
                    "registered_model_tags", ("workspace", "name", "key", "value"), rows
                )
            for version, source in added:
                self._insert_version(model.name, version, source)
            numbers = {version.version for version, _ in added}
            aliases = [
                (WORKSPACE, model.name, alias, version)
                for alias, version in model.aliases.items()
                if version in numbers
            ]
            self.database.insert_many(
                "registered_model_aliases", ("workspace", "name", "alias", "version"), aliases
            )
        return is_new, len(added)

    def _known(self, table: str, column: str, keys: Sequence[str]) -> set[str]:
        if not self.exists:
            return set()
        found = self.database.read_grouped(f"SELECT {column}, 1 FROM {table} WHERE {column} IN", keys)  # noqa: S608
        return set(found)

    def _insert_values(self, table: str, values: Iterable[tuple[str, Mapping[str, str]]]) -> None:
        rows = []
        for run_id, pairs in values:
            for name, value in pairs.items():
                text = str(value)
                if len(text) > MAX_VALUE_LENGTH:
                    self.notes.append(
                        f"{table[:-1]} {name} of run {run_id[:8]} was cut to {MAX_VALUE_LENGTH} characters"
                    )
                rows.append((name, text[:MAX_VALUE_LENGTH], run_id))
        self.database.insert_many(table, ("key", "value", "run_uuid"), rows)

    def _insert_points(self, runs: Sequence[tuple[SourceRun, str]]) -> None:
        rows, latest_rows = [], []
        for run, _ in runs:
            latest: dict[str, Point] = {}
            for point in run.points:
                value, is_nan = _stored(point.value)
                rows.append((point.key, value, point.timestamp, run.run_id, point.step, is_nan))
                if point.key not in latest or _order(point) > _order(latest[point.key]):
                    latest[point.key] = point
            for point in latest.values():
                value, is_nan = _stored(point.value)
                latest_rows.append((point.key, value, point.timestamp, point.step, is_nan, run.run_id))
        self.database.insert_many(
            "metrics", ("key", "value", "timestamp", "run_uuid", "step", "is_nan"), rows
        )
        self.database.insert_many(
            "latest_metrics", ("key", "value", "timestamp", "step", "is_nan", "run_uuid"), latest_rows
        )

    def _insert_inputs(self, run: SourceRun, experiment_id: int) -> None:
        for dataset in run.datasets:
            identity = [experiment_id, dataset.name, dataset.digest]
            query = "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?"
            found = self.database.read(query, identity)
            dataset_uuid = found[0][0] if found else uuid.uuid4().hex
            if not found:
                columns = (
                    "dataset_uuid", "experiment_id", "name", "digest", "dataset_source_type", "dataset_source",
                    "dataset_schema", "dataset_profile",
                )  # fmt: skip
                row = (
                    dataset_uuid,
                    *identity,
                    dataset.source_type,
                    dataset.source,
                    dataset.schema,
                    dataset.profile,
                )
                self.database.insert_many("datasets", columns, [row])
            input_uuid = self._insert_link("DATASET", dataset_uuid, "RUN", run.run_id, 0)
            rows = [(input_uuid, name, value) for name, value in dataset.tags.items()]
            self.database.insert_many("input_tags", ("input_uuid", "name", "value"), rows)
        for model_id, step in run.models:
            self._insert_link("RUN_OUTPUT", run.run_id, "MODEL_OUTPUT", model_id, step)

    def _insert_link(self, source_type: str, source: str, target_type: str, target: str, step: int) -> str:
        link = uuid.uuid4().hex
        columns = ("input_uuid", "source_type", "source_id", "destination_type", "destination_id", "step")
        self.database.insert_many("inputs", columns, [(link, source_type, source, target_type, target, step)])
        return link

    def _insert_version(self, name: str, version: SourceVersion, source: str) -> None:
        columns = (
            "name", "version", "creation_time", "last_updated_time", "description", "user_id", "current_stage",
            "source", "run_id", "status", "workspace", "storage_location",
        )  # fmt: skip
        created, updated = version.created or now_ms(), version.updated or now_ms()
        location = None if version.storage_location is None else source
        row = (
            name, version.version, created, updated, version.description, version.user, version.stage, source,
            version.run_id, version.status, WORKSPACE, location,
        )  # fmt: skip
        self.database.insert_many("model_versions", columns, [row])
        rows = [(WORKSPACE, name, version.version, key, value) for key, value in version.tags.items()]
        self.database.insert_many(
            "model_version_tags", ("workspace", "name", "version", "key", "value"), rows
        )

    def _moved(self, version: SourceVersion) -> str:
        """Return the address of a version's files in this store; a models:/ or runs:/ address stays right."""
        if not (match := RUN_PATH.search(version.source)):
            return version.source
        key, tail = match[1], match[2] or ""
        for query in (
            "SELECT artifact_uri FROM runs WHERE run_uuid = ?",
            "SELECT artifact_location FROM logged_models WHERE model_id = ?",
        ):
            if rows := self.database.read(query, [key]):
                return f"{rows[0][0]}{tail}"
        self.notes.append(f"the files of version {version.version} stay at {version.source}")
        return version.source

    def move_runs(self, run_ids: Sequence[str], experiment_id: str) -> None:
        """Give runs and their logged models another experiment; their artifacts stay where they are."""
        key = int(experiment_id)
        with self.database.write():
            self.database.execute(
                f"UPDATE runs SET experiment_id = ? WHERE run_uuid IN ({marks(run_ids)})",  # noqa: S608
                [key, *run_ids],
            )
            query = f"SELECT model_id FROM logged_models WHERE source_run_id IN ({marks(run_ids)})"  # noqa: S608
            models = [model_id for (model_id,) in self.database.read(query, list(run_ids))]
            for table in MODEL_TABLES if models else ():
                self.database.execute(
                    f"UPDATE {table} SET experiment_id = ? WHERE model_id IN ({marks(models)})",  # noqa: S608
                    [key, *models],
                )


def _database_of(store: TrackingStore, tracking_uri: str) -> Database:
    """Return the tables of a store; raises ConfigurationError if mlctl cannot write to them itself."""
    if is_mysql(store.tracking_uri):
        store.check_reachable()
        database = Database(store.tracking_uri)
        if DatabaseClient.knows(database):
            return database
    elif isinstance(store.client, DatabaseClient):
        return store.client.database
    raise ConfigurationError(
        f"{mask_passwords(tracking_uri)} is no database that mlctl can write to itself",
        "name the server's database: --tracking-uri sqlite:///FILE, postgresql://… or mysql://…",
    )


def _stored(value: float) -> tuple[float, bool]:
    """Return a value as MLflow stores it, and whether it is NaN."""
    if math.isnan(value):
        return 0.0, True
    return (math.copysign(LARGEST, value) if math.isinf(value) else value), False


def _order(point: Point) -> tuple[int, int, float]:
    return point.step, point.timestamp, point.value if point.value == point.value else -math.inf
