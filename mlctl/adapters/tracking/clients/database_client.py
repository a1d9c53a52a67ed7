"""A client that reads and changes MLflow's tables itself, in a schema that it knows."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from mlctl.adapters.tracking.clients import run_queries
from mlctl.adapters.tracking.clients.connection import Database, marks, now_ms
from mlctl.adapters.tracking.clients.database_registry import RegistryTables
from mlctl.adapters.tracking.clients.entities import (
    ExperimentEntity,
    FileEntity,
    LoggedModelEntity,
    MetricPoint,
    Page,
    RunEntity,
    StoreError,
    not_found,
)
from mlctl.adapters.tracking.clients.local_artifacts import list_folder, local_folder
from mlctl.adapters.tracking.clients.names import is_plain_tag
from mlctl.adapters.tracking.clients.registry_rows import WORKSPACE
from mlctl.adapters.tracking.clients.run_rows import RUN_COLUMNS, RUN_NAME_TAG, read_runs
from mlctl.domain.run_queries import Condition, SortKey

# revisions of MLflow's schema whose tables were compared with what is written here
KNOWN_REVISIONS = frozenset({"dc11669786a5"})
RUN_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}$")
STATUSES = frozenset({"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"})
MAX_RUN_TAG_LENGTH, MAX_RUN_NAME_LENGTH = 8000, 250
OTHER_WORKSPACES = " UNION ".join(
    f"SELECT 1 FROM {table} WHERE workspace <> 'default'"  # noqa: S608  # names are ours
    for table in ("experiments", "registered_models", "webhooks")
)


class DatabaseClient(RegistryTables):
    """Experiments, runs and logged models in MLflow's tables."""

    @staticmethod
    def knows(database: Database) -> bool:
        """Whether this client knows a database's schema, and MLflow would accept its content."""
        return database.revision() in KNOWN_REVISIONS and not database.read(OTHER_WORKSPACES)

    # -- experiments ---------------------------------------------------------------------------------------

    def search_experiments(self, *, is_deleted: bool = False, **_: Any) -> Page[ExperimentEntity]:
        """Return all active or all deleted experiments."""
        rows = self.database.read(
            "SELECT experiment_id, name, artifact_location FROM experiments"
            " WHERE workspace = ? AND lifecycle_stage = ? ORDER BY creation_time DESC, experiment_id",
            [WORKSPACE, "deleted" if is_deleted else "active"],
        )
        return Page(
            ExperimentEntity(experiment_id=str(key), name=name, artifact_location=location or "")
            for key, name, location in rows
        )

    def count_runs(self) -> dict[str, tuple[int, int | None]]:
        """Return the number of active runs, and the last start, by experiment."""
        query = (
            "SELECT experiment_id, count(*), max(start_time) FROM runs"
            " WHERE lifecycle_stage = 'active' GROUP BY experiment_id"
        )
        return {str(key): (count, last) for key, count, last in self.database.read(query)}

    # -- runs ----------------------------------------------------------------------------------------------

    def find_runs(
        self,
        experiment_ids: Sequence[str],
        conditions: Sequence[Condition],
        order: Sequence[SortKey],
        *,
        max_results: int,
        page_token: str | None,
    ) -> Page[RunEntity]:
        """Return active runs for which the conditions may hold; the caller checks each again."""
        if not experiment_ids:
            return Page([])
        parts = [part for condition in conditions if (part := run_queries.where(condition))]
        joins, order_sql, join_values = run_queries.order_by(order)
        ids = [int(experiment_id) for experiment_id in experiment_ids]
        wheres = [
            "r.lifecycle_stage = 'active'",
            f"r.experiment_id IN ({marks(ids)})",
            *(sql for sql, _ in parts),
        ]
        start = int(page_token or 0)
        rows = self.database.read(
            f"SELECT {RUN_COLUMNS} FROM runs r{joins} WHERE {' AND '.join(wheres)}"  # noqa: S608  # values are bound
            f" ORDER BY {order_sql} LIMIT ? OFFSET ?",
            [*join_values, *ids, *(value for _, values in parts for value in values), max_results + 1, start],
        )
        token = str(start + max_results) if len(rows) > max_results else None
        return Page(read_runs(self.database, rows[:max_results]), token)

    def find_runs_by_id(self, run_ids: Sequence[str]) -> Page[RunEntity]:
        """Return those of these runs that are active."""
        rows = self.database.read(
            f"SELECT {RUN_COLUMNS} FROM runs r"  # noqa: S608  # values are bound
            f" WHERE r.lifecycle_stage = 'active' AND r.run_uuid IN ({marks(run_ids)}) AND r.experiment_id IN"
            " (SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'active')",
            list(run_ids),
        )
        return Page(read_runs(self.database, rows))

    def get_run(self, run_id: str) -> RunEntity:
        """Return a run, also a deleted one; raises StoreError."""
        if not RUN_ID.match(run_id):
            raise StoreError(f"invalid run id {run_id!r}", "INVALID_PARAMETER_VALUE")
        rows = self.database.read(f"SELECT {RUN_COLUMNS} FROM runs r WHERE r.run_uuid = ?", [run_id])  # noqa: S608
        if not rows:
            raise StoreError(f"Run with id={run_id} not found", "RESOURCE_DOES_NOT_EXIST")
        return read_runs(self.database, rows)[0]

    def get_metric_history(self, run_id: str, key: str) -> Page[MetricPoint]:
        """Return all values of a metric."""
        rows = self.database.read(
            "SELECT value, is_nan, timestamp, step FROM metrics WHERE run_uuid = ? AND key = ?"
            " ORDER BY timestamp, step, value",
            [run_id, key],
        )
        return Page(
            MetricPoint(key=key, value=math.nan if is_nan else value, timestamp=timestamp, step=step)
            for value, is_nan, timestamp, step in rows
        )

    def set_tag(self, run_id: str, key: str, value: Any) -> None:
        """Set a tag of an active run."""
        text = str(value)
        if key == RUN_NAME_TAG:
            self.update_run(run_id, name=text)
            return
        if not is_plain_tag(key, text, MAX_RUN_TAG_LENGTH):
            self.full.set_tag(run_id, key, text)
            return
        with self.database.write():
            self._require_active(run_id)
            self.database.upsert("tags", {"key": key, "run_uuid": run_id}, {"value": text})

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete a tag of an active run; raises StoreError if it has none of this name."""
        with self.database.write():
            self._require_active(run_id)
            if not self.database.execute("DELETE FROM tags WHERE run_uuid = ? AND key = ?", [run_id, key]):
                raise not_found("tag", key)

    def update_run(self, run_id: str, status: str | None = None, name: str | None = None) -> None:
        """Change the status or the name of an active run."""
        if status is None and name is None:
            return
        if (status or "RUNNING") not in STATUSES or len(name or "") > MAX_RUN_NAME_LENGTH:
            self.full.update_run(run_id, status, name)
            return
        with self.database.write():
            self._require_active(run_id)
            if status is not None:
                self.database.execute("UPDATE runs SET status = ? WHERE run_uuid = ?", [status, run_id])
            if name:
                self.database.execute("UPDATE runs SET name = ? WHERE run_uuid = ?", [name, run_id])
                self.database.upsert("tags", {"key": RUN_NAME_TAG, "run_uuid": run_id}, {"value": name})

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted."""
        if self.database.read("SELECT 1 FROM assessments LIMIT 1"):
            self.full.delete_run(run_id)  # it deletes the run's assessments of traces, too
            return
        with self.database.write():
            changed = self.database.execute(
                "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE run_uuid = ?",
                [now_ms(), run_id],
            )
            if not changed:
                raise StoreError(f"Run with id={run_id} not found", "RESOURCE_DOES_NOT_EXIST")

    def restore_run(self, run_id: str) -> None:
        """Mark a deleted run as active."""
        with self.database.write():
            changed = self.database.execute(
                "UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE run_uuid = ?", [run_id]
            )
            if not changed:
                raise StoreError(f"Run with id={run_id} not found", "RESOURCE_DOES_NOT_EXIST")

    def deleted_runs(self) -> dict[str, str]:
        """Return the names of all deleted runs by their id, the one deleted last first."""
        query = (
            "SELECT run_uuid, name FROM runs WHERE lifecycle_stage = 'deleted' AND experiment_id IN"
            " (SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'active')"
            " ORDER BY deleted_time DESC"
        )
        return dict(self.database.read(query))

    # -- artifacts and logged models -----------------------------------------------------------------------

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileEntity]:
        """Return what is in a folder of a run's artifacts."""
        root = local_folder(self.get_run(run_id).info.artifact_uri)
        found = list_folder(root, path) if root else None
        # MLflow finds a logged model of the run by a path, too
        return self.full.list_artifacts(run_id, path) if found is None or (path and not found) else found

    def read_artifact(self, run_id: str, path: str) -> str | None:
        """Return the content of a run's text file; None if it is not in a folder of this machine."""
        root = local_folder(self.get_run(run_id).info.artifact_uri)
        file = root / path if root else None
        return file.read_text(encoding="utf-8") if file and file.is_file() else None

    def list_logged_model_artifacts(self, model_id: str, path: str | None = None) -> list[FileEntity]:
        """Return what is in a folder of a logged model's artifacts."""
        root = local_folder(self.get_logged_model(model_id).artifact_location)
        found = list_folder(root, path) if root else None
        return self.full.list_logged_model_artifacts(model_id, path) if found is None else found

    def get_logged_model(self, model_id: str) -> LoggedModelEntity:
        """Return a logged model that is not deleted; raises StoreError."""
        rows = self.database.read(
            "SELECT artifact_location, source_run_id FROM logged_models"
            " WHERE model_id = ? AND lifecycle_stage <> 'deleted'",
            [model_id],
        )
        if not rows:
            raise StoreError(f"Logged model with ID '{model_id}' not found.", "RESOURCE_DOES_NOT_EXIST")
        location, run_id = rows[0]
        return LoggedModelEntity(model_id=model_id, artifact_location=location, source_run_id=run_id)

    def delete_logged_model(self, model_id: str) -> None:
        """Mark a logged model as deleted; raises StoreError."""
        with self.database.write():
            changed = self.database.execute(
                "UPDATE logged_models SET lifecycle_stage = 'deleted', last_updated_timestamp_ms = ?"
                " WHERE model_id = ?",
                [now_ms(), model_id],
            )
            if not changed:
                raise not_found("logged model", model_id)

    # -- rows ----------------------------------------------------------------------------------------------

    def _require_active(self, run_id: str) -> None:
        rows = self.database.read("SELECT lifecycle_stage FROM runs WHERE run_uuid = ?", [run_id])
        if not rows:
            raise StoreError(f"Run with id={run_id} not found", "RESOURCE_DOES_NOT_EXIST")
        if rows[0][0] != "active":
            raise StoreError(f"The run {run_id} must be in the 'active' state", "INVALID_PARAMETER_VALUE")
