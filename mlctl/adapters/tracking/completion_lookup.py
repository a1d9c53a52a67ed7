"""Read names from a tracking store for completion: read-only, and without importing MLflow.

Importing MLflow takes seconds, and completion must answer within one. A SQLite store is read with queries on
MLflow's own tables, a server through its REST API; other stores offer nothing. The caller ignores errors.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

MAX_RUNS = 2000
SAMPLED_RUNS, SAMPLED_SERVER_RUNS = 200, 20  # whose metrics and parameters are offered
MAX_SERVER_RUNS = 100  # a server sends each run with all its params, metrics and tags
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 0.5, 2.0

RunRow = tuple[str, str, str]  # id, name, experiment


@dataclass(frozen=True)
class Version:
    """A registered version: its number, its aliases, and a short description (aliases and stage)."""

    version: str
    aliases: tuple[str, ...]
    description: str


class CompletionStore(Protocol):
    """The names that completion offers, newest first, without deleted ones."""

    def runs(self, prefix: str) -> Sequence[RunRow]:
        """Return the runs whose id or name starts with the prefix."""

    def experiments(self) -> Sequence[str]:
        """Return the names of the experiments."""

    def models(self) -> Sequence[str]:
        """Return the names of the registered models."""

    def versions(self, model: str) -> Sequence[Version]:
        """Return the versions of a registered model."""

    def metrics(self) -> Sequence[str]:
        """Return the names of the metrics of the newest runs, sorted."""

    def params(self) -> Sequence[str]:
        """Return the names of the parameters of the newest runs, sorted."""

    def close(self) -> None:
        """Close the connection."""


def open_completion_store(uri: str) -> CompletionStore:
    """Return the store at this tracking URI; raises LookupError if it cannot be read quickly."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme == "sqlite":
        return SqliteStore(uri.partition(":///")[2].partition("?")[0])
    if scheme in {"http", "https"}:
        return ServerStore(uri)
    raise LookupError(f"completion does not read {scheme} stores")


class SqliteStore:
    """MLflow's tables in a SQLite file, opened read-only."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=0.3)

    def runs(self, prefix: str) -> Sequence[RunRow]:
        """Return the runs whose id or name starts with the prefix."""
        return self._rows(
            "SELECT r.run_uuid, coalesce(r.name, ''), e.name FROM runs r"
            " JOIN experiments e ON e.experiment_id = r.experiment_id"
            " WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active'"
            " AND (substr(r.name, 1, ?) = ? OR substr(r.run_uuid, 1, ?) = ?)"
            " ORDER BY r.start_time DESC LIMIT ?",
            (*(len(prefix), prefix) * 2, MAX_RUNS),
        )

    def experiments(self) -> Sequence[str]:
        """Return the names of the experiments."""
        query = "SELECT name FROM experiments WHERE lifecycle_stage = 'active' ORDER BY last_update_time DESC"
        return [name for (name,) in self._rows(query)]

    def models(self) -> Sequence[str]:
        """Return the names of the registered models."""
        return [name for (name,) in self._rows("SELECT name FROM registered_models ORDER BY name")]

    def versions(self, model: str) -> Sequence[Version]:
        """Return the versions of a registered model."""
        aliases = self._rows("SELECT alias, version FROM registered_model_aliases WHERE name = ?", (model,))
        query = (
            "SELECT version, current_stage FROM model_versions WHERE name = ?"
            " AND current_stage IS NOT 'Deleted_Internal' ORDER BY version DESC"
        )
        return [
            _to_version(str(number), [alias for alias, of in aliases if str(of) == str(number)], stage)
            for number, stage in self._rows(query, (model,))
        ]

    def metrics(self) -> Sequence[str]:
        """Return the names of the metrics of the newest runs, sorted."""
        return self._names_of_newest_runs("latest_metrics")

    def params(self) -> Sequence[str]:
        """Return the names of the parameters of the newest runs, sorted."""
        return self._names_of_newest_runs("params")

    def _names_of_newest_runs(self, table: str) -> Sequence[str]:
        query = (
            f"SELECT DISTINCT key FROM {table} WHERE run_uuid IN (SELECT run_uuid FROM runs"  # noqa: S608
            " WHERE lifecycle_stage = 'active' ORDER BY start_time DESC LIMIT ?) ORDER BY key"
        )
        return [name for (name,) in self._rows(query, (SAMPLED_RUNS,))]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._connection.execute(query, values).fetchall()


class ServerStore:
    """An MLflow server's REST API, with short timeouts."""

    def __init__(self, uri: str) -> None:
        # a SQLite store need not wait for this import
        from mlctl.adapters.system.http import tracking_server_client
        from mlctl.adapters.tracking.clients.rest_requests import find_credentials

        parts = urlsplit(uri)
        user, token = find_credentials(parts.username, parts.password)
        self._client = tracking_server_client(
            urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
            timeout_s=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            user=user,
            token=token,
        )
        self._newest: list[dict[str, Any]] | None = None

    def runs(self, prefix: str) -> Sequence[RunRow]:
        """Return the newest of the runs whose id or name starts with the prefix."""
        experiments = {found["experiment_id"]: found["name"] for found in self._experiments()}
        rows = []
        for filter_string in _run_filters(prefix):
            query = {
                "experiment_ids": list(experiments),
                "max_results": MAX_SERVER_RUNS,
                "order_by": ["attributes.start_time DESC"],
                "filter": filter_string,
            }
            infos = [found["info"] for found in self._post("runs/search", query).get("runs", [])]
            rows += [
                (info["run_id"], info.get("run_name", ""), experiments[info["experiment_id"]])
                for info in infos
            ]
        return [row for row in rows if row[0].startswith(prefix) or row[1].startswith(prefix)]

    def experiments(self) -> Sequence[str]:
        """Return the names of the experiments."""
        return [found["name"] for found in self._experiments()]

    def models(self) -> Sequence[str]:
        """Return the names of the registered models."""
        answer = self._get("registered-models/search", {"max_results": 1000})
        return [found["name"] for found in answer.get("registered_models", [])]

    def versions(self, model: str) -> Sequence[Version]:
        """Return the versions of a registered model."""
        name = model.replace("'", "")
        query = {"filter": f"name='{name}'", "max_results": 1000}
        versions = self._get("model-versions/search", query).get("model_versions", [])
        registered_model = self._get("registered-models/get", {"name": model})["registered_model"]
        aliases = registered_model.get("aliases", [])
        return [
            _to_version(
                found["version"],
                [alias["alias"] for alias in aliases if alias["version"] == found["version"]],
                found.get("current_stage"),
            )
            for found in versions
        ]

    def metrics(self) -> Sequence[str]:
        """Return the names of the metrics of the newest runs, sorted."""
        return self._names_of_newest_runs("metrics")

    def params(self) -> Sequence[str]:
        """Return the names of the parameters of the newest runs, sorted."""
        return self._names_of_newest_runs("params")

    def _names_of_newest_runs(self, field: str) -> Sequence[str]:
        if self._newest is None:
            query = {
                "experiment_ids": [found["experiment_id"] for found in self._experiments()],
                "max_results": SAMPLED_SERVER_RUNS,
                "order_by": ["attributes.start_time DESC"],
            }
            self._newest = self._post("runs/search", query).get("runs", [])
        return sorted({entry["key"] for run in self._newest for entry in run["data"].get(field, [])})

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _experiments(self) -> list[dict[str, Any]]:
        experiments: list[dict[str, Any]] = self._post("experiments/search", {"max_results": 1000}).get(
            "experiments", []
        )
        return experiments

    def _get(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        return dict(self._client.request("GET", f"/api/2.0/mlflow/{path}", params=query).json())

    def _post(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        return dict(self._client.request("POST", f"/api/2.0/mlflow/{path}", json=query).json())


def _run_filters(prefix: str) -> list[str]:
    """Return MLflow filters that find all runs with this prefix, and more if it contains wildcards of LIKE."""
    if not prefix or "'" in prefix:
        return [""]
    by_name = f"attributes.run_name LIKE '{prefix}%'"
    is_hex = all(letter in "0123456789abcdef" for letter in prefix)
    return [by_name, f"attributes.run_id LIKE '{prefix}%'"] if is_hex else [by_name]


def _to_version(number: str, aliases: list[str], stage: str | None) -> Version:
    words = [f"@{alias}" for alias in aliases] + ([stage] if stage and stage != "None" else [])
    return Version(number, tuple(aliases), " ".join(words))
