"""A quick look into a tracking store, for completion alone: read-only, and without importing MLflow.

`import mlflow` takes seconds and a TAB press has one. A SQLite store is read with three queries over MLflow's
own tables, a server over its REST API; other stores show nothing. A failure is the caller's to swallow.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlencode, urlsplit

NEWEST = 2000  # runs that are offered at most
NEWEST_OF_SERVER = 100  # a server sends each run with all its params, metrics and tags
CONNECT_S, READ_S = 0.5, 2.0

RunRow = tuple[str, str, str]  # id, name, experiment


@dataclass(frozen=True)
class Version:
    """One registered version: its number as text, its aliases, and a few words about it."""

    version: str
    aliases: tuple[str, ...]
    about: str


class CompletionStore(Protocol):
    """What completion asks of a store: names, the newest first, deleted ones left out."""

    def runs(self, prefix: str) -> Sequence[RunRow]:
        """Return the runs whose id or name begins with the prefix."""

    def experiments(self) -> Sequence[str]:
        """Return the names of the experiments."""

    def models(self) -> Sequence[str]:
        """Return the names of the registered models."""

    def versions(self, model: str) -> Sequence[Version]:
        """Return the versions of a registered model."""

    def close(self) -> None:
        """Let go of the store."""


def opened(uri: str) -> CompletionStore:
    """Return a look into the store at this tracking URI; raises where it cannot be looked into quickly."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme == "sqlite":
        return SqliteStore(uri.partition(":///")[2].partition("?")[0])
    if scheme in {"http", "https"}:
        return ServerStore(uri)
    raise LookupError(f"no quick look into a {scheme} store")


class SqliteStore:
    """MLflow's own tables in a SQLite file, opened read-only."""

    def __init__(self, path: str) -> None:
        self._file = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=0.3)

    def runs(self, prefix: str) -> Sequence[RunRow]:
        """Return the runs whose id or name begins with the prefix."""
        return self._rows(
            "SELECT r.run_uuid, coalesce(r.name, ''), e.name FROM runs r"
            " JOIN experiments e ON e.experiment_id = r.experiment_id"
            " WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active'"
            " AND (substr(r.name, 1, ?) = ? OR substr(r.run_uuid, 1, ?) = ?)"
            " ORDER BY r.start_time DESC LIMIT ?",
            (*(len(prefix), prefix) * 2, NEWEST),
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
            _version(str(number), [alias for alias, of in aliases if str(of) == str(number)], stage)
            for number, stage in self._rows(query, (model,))
        ]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._file.execute(query, values).fetchall()


class ServerStore:
    """An MLflow server's REST API, over one connection that gives up soon."""

    def __init__(self, uri: str) -> None:
        from http.client import HTTPConnection, HTTPSConnection  # 30 ms that a SQLite store need not pay

        place = urlsplit(uri)
        connection = HTTPSConnection if place.scheme == "https" else HTTPConnection
        self._connection = connection(place.hostname or "", place.port, timeout=CONNECT_S)
        self._base = place.path.rstrip("/") + "/api/2.0/mlflow/"
        self._headers = {"Content-Type": "application/json", **_authorization(place.username, place.password)}

    def runs(self, prefix: str) -> Sequence[RunRow]:
        """Return the newest of the runs whose id or name begins with the prefix."""
        experiments = {one["experiment_id"]: one["name"] for one in self._experiments()}
        rows = []
        for wanted in _filters(prefix):
            asked = {
                "experiment_ids": list(experiments),
                "max_results": NEWEST_OF_SERVER,
                "order_by": ["attributes.start_time DESC"],
                "filter": wanted,
            }
            found = [one["info"] for one in self._call("POST", "runs/search", asked).get("runs", [])]
            rows += [
                (one["run_id"], one.get("run_name", ""), experiments[one["experiment_id"]]) for one in found
            ]
        return [row for row in rows if row[0].startswith(prefix) or row[1].startswith(prefix)]

    def experiments(self) -> Sequence[str]:
        """Return the names of the experiments."""
        return [one["name"] for one in self._experiments()]

    def models(self) -> Sequence[str]:
        """Return the names of the registered models."""
        found = self._call("GET", "registered-models/search", {"max_results": 1000})
        return [one["name"] for one in found.get("registered_models", [])]

    def versions(self, model: str) -> Sequence[Version]:
        """Return the versions of a registered model."""
        quoted = model.replace("'", "")
        asked = {"filter": f"name='{quoted}'", "max_results": 1000}
        found = self._call("GET", "model-versions/search", asked).get("model_versions", [])
        aliases = self._call("GET", "registered-models/get", {"name": model})["registered_model"].get(
            "aliases", []
        )
        return [
            _version(
                one["version"],
                [alias["alias"] for alias in aliases if alias["version"] == one["version"]],
                one.get("current_stage"),
            )
            for one in found
        ]

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _experiments(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("POST", "experiments/search", {"max_results": 1000}).get(
            "experiments", []
        )
        return found

    def _call(self, method: str, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        if self._connection.sock is None:
            self._connection.connect()
            socket: Any = self._connection.sock
            socket.settimeout(READ_S)
        if method == "GET":
            self._connection.request("GET", f"{self._base}{path}?{urlencode(asked)}", headers=self._headers)
        else:
            self._connection.request("POST", self._base + path, json.dumps(asked), self._headers)
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return answer


def _filters(prefix: str) -> list[str]:
    """Return MLflow's filters that find all runs of this prefix, and more where LIKE's wildcards are in it."""
    if not prefix or "'" in prefix:
        return [""]
    names = f"attributes.run_name LIKE '{prefix}%'"
    is_hex = all(letter in "0123456789abcdef" for letter in prefix)
    return [names, f"attributes.run_id LIKE '{prefix}%'"] if is_hex else [names]


def _authorization(user: str | None, password: str | None) -> dict[str, str]:
    """Return the header that MLflow's own client would send: what the URI or the environment holds."""
    user = unquote(user) if user else os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = unquote(password) if password else os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _version(number: str, aliases: list[str], stage: str | None) -> Version:
    words = [f"@{alias}" for alias in aliases] + ([stage] if stage and stage != "None" else [])
    return Version(number, tuple(aliases), " ".join(words))
