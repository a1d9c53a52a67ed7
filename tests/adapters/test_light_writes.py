"""What is written without MLflow is what MLflow's client would write: the rows of two copies of one database agree."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mlctl.adapters.tracking.clients.connection import Database, now_ms
from mlctl.adapters.tracking.clients.database_client import DatabaseClient
from mlctl.adapters.tracking.errors import error_code, translate_errors
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import MlctlError
from tests import varied_store
from tests.varied_store import ODD_MODEL, PROMPT, TEXTS, Stored

Call = tuple[str, Sequence[Any]]  # a client's method and its arguments


def _run_writes(ids: dict[str, Any]) -> list[Call]:
    run, other, deleted, absent = ids["runs"][8], ids["runs"][4], ids["deleted"], "0" * 32
    calls: list[Call] = [
        ("set_tag", (run, "new", text)) for text in (*TEXTS, "z" * 8000, "z" * 8001, 3, None, True)
    ]
    calls += [
        ("set_tag", (run, key, "x"))
        for key in ("owner", "a b/c.d-e_f:g", "é", "a//b", "a/", "/a", "..", "", "a'b", "k" * 250, "k" * 251)
    ]
    calls += [
        ("set_tag", (where, "mlflow.runName", "renamed 'é'")) for where in (run, other, deleted, absent)
    ]
    calls += [("set_tag", (run, "mlflow.runName", text)) for text in ("", "n" * 251)]
    calls += [("set_tag", (where, "owner", "x")) for where in (deleted, absent)]
    calls += [("delete_tag", (run, key)) for key in ("new", "new", "a//b", "mlflow.runName")]
    calls += [("delete_tag", (where, "owner")) for where in (deleted, absent)]
    calls += [
        ("update_run", (where, *change))
        for where in (run, other, deleted, absent)
        for change in (("FAILED",), (None, "näme"), ("RUNNING", "both"), (None, ""), (None, None))
    ]
    calls += [
        (method, (where,))
        for where in (run, deleted, absent)
        for method in ("delete_run", "delete_run", "restore_run", "restore_run", "delete_run")
    ]
    return calls + [
        ("delete_logged_model", (model,)) for model in (ids["logged"], ids["deleted_model"], "m-absent")
    ]


WRITTEN = (
    "runs", "tags", "logged_models", "model_versions", "model_version_tags", "registered_models",
    "registered_model_tags", "registered_model_aliases",
)  # fmt: skip
NAMES = ("wine", ODD_MODEL, PROMPT, "absent", "a/b", "")


def _registry_writes() -> list[Call]:
    versions = [*((name, "3") for name in NAMES), ("wine", "6"), ("wine", "99"), ("wine", "abc")]
    values = (*TEXTS[1:5], "z" * 5000, "z" * 5001, "z" * 100_001)
    calls: list[Call] = [("set_registered_model_tag", (name, "team", "x")) for name in NAMES]
    calls += [("set_registered_model_tag", ("wine", "new", value)) for value in values]
    calls += [("set_registered_model_tag", ("wine", key, "x")) for key in ("a//b", "é", "k" * 251, ".")]
    calls += [("delete_registered_model_tag", (name, "team")) for name in (*NAMES, "wine")]
    calls += [("delete_registered_model_tag", ("wine", "a//b"))]
    calls += [("set_model_version_tag", (*version, "k", "x")) for version in versions]
    calls += [("set_model_version_tag", ("wine", "3", "new", value)) for value in (*values, "z" * 100_000)]
    calls += [("update_registered_model", (name, text)) for name in NAMES for text in ("it's\n✓", "", None)]
    calls += [("update_model_version", (*version, text)) for version in versions for text in ("é", "", None)]
    aliases = ("champion", "new", "A-1_b", "latest", "v12", "V1", "a b", "é", "", "x/y", "a" * 255, "a" * 256)
    calls += [("set_registered_model_alias", ("wine", alias, "4")) for alias in aliases]
    calls += [("set_registered_model_alias", (name, "champion", number)) for name, number in versions]
    calls += [("delete_registered_model_alias", ("wine", alias)) for alias in aliases]
    calls += [("delete_registered_model_alias", (name, "champion")) for name in NAMES]
    stages = ("production", "Staging", "Archived", "none", "None", "Prod", "", "Deleted_Internal")
    calls += [
        ("transition_model_version_stage", ("wine", number, stage, archive))
        for stage in stages
        for number, archive in (("3", False), ("4", True))
    ]
    calls += [
        ("transition_model_version_stage", (*version, "Production", archive))
        for version in versions[:-1]  # MLflow asks PostgreSQL for the versions other than "abc"
        for archive in (False, True)
    ]
    calls += [("set_registered_model_alias", ("wine", alias, "3")) for alias in ("one", "two")]
    calls += [("delete_model_version", version) for version in (*versions, ("wine", "3"))]
    return calls + [("delete_registered_model", (name,)) for name in ("wine", PROMPT, "absent")]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def copies(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Stored, Stored]:
    """Return two copies of a filled store."""
    stored: Stored = request.getfixturevalue(f"{request.param}_store")
    uri = stored.store.tracking_uri
    if request.param == "postgres":
        uris = [varied_store.copy_postgres(uri) for _ in range(2)]
    else:
        source = uri.removeprefix("sqlite:///")
        uris = [f"sqlite:///{shutil.copy(source, tmp_path / name)}" for name in ("light.db", "full.db")]
    light, full = (Stored(TrackingStore(one), stored.ids) for one in uris)
    return light, full


@pytest.mark.parametrize("kind", ["runs", "registry"])
def test_same_rows_and_errors_after_each_write(copies: tuple[Stored, Stored], kind: str) -> None:
    light, full = copies
    assert isinstance(light.light, DatabaseClient)
    calls = _run_writes(light.ids) if kind == "runs" else _registry_writes()
    _assert_same_effects(
        calls,
        _apply(calls, light.light, light.store.tracking_uri),
        _apply(calls, full.full, full.store.tracking_uri),
    )


def test_same_rows_and_errors_behind_a_server(
    sqlite_store: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    by_method: dict[str, list[Call]] = {}
    for call in (*_run_writes(sqlite_store.ids)[15:], *_registry_writes()):
        if not {PROMPT, ""} & set(call[1]) and len(str(call[1])) < 1000:  # here the errors differ a little
            by_method.setdefault(call[0], []).append(call)
    calls = [call for found in by_method.values() for call in found[:: max(1, len(found) // 4)]]
    effects = []
    for name in ("light", "full"):
        uri = f"sqlite:///{shutil.copy(sqlite_store.store.tracking_uri.removeprefix('sqlite:///'), tmp_path / name)}"
        with varied_store.serving(uri) as server:
            store = TrackingStore(server)
            client = store.client if name == "light" else store.mlflow_client
            effects.append(_apply(calls, client, uri))
    _assert_same_effects(calls, *effects)


def _apply(calls: Sequence[Call], client: Any, uri: str) -> list[tuple[Any, Any]]:
    """Return the outcome of each call, and the rows after it; at the end the rows of all tables."""
    rows, effects = Rows(uri), []
    for call in calls:
        time.sleep(0.002)
        since = now_ms()
        effects.append((_outcome(client, call, uri), rows.read(since)))
    return [*effects, (None, rows.read(since, rows.tables))]


def _assert_same_effects(calls: Sequence[Call], light: Sequence[Any], full: Sequence[Any]) -> None:
    for call, found, expected in zip([*calls, ("all tables", ())], light, full, strict=True):
        where = (call[0], str(call[1])[:200])
        assert found[0] == expected[0], where
        for table, rows in found[1].items():
            assert rows == expected[1][table], (table, *where)


def _outcome(client: Any, call: Call, uri: str) -> Any:
    """Return the code of the error and mlctl's kind of it; None for a success."""
    error: MlctlError | None = None
    try:
        with translate_errors(uri):
            getattr(client, call[0])(*call[1])
    except MlctlError as exc:
        error = exc
    if error is None:
        return None
    assert error.__cause__
    assert "\n" not in error.message
    return error_code(error.__cause__), type(error)


class Rows:
    """Reads the rows of a database so that those of two copies compare: of a time, whether a test has changed it."""

    def __init__(self, uri: str) -> None:
        self._database = Database(uri)
        query = (
            "SELECT name FROM sqlite_master WHERE type = 'table'"
            if self._database.is_sqlite
            else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        self.tables = sorted(row[0] for row in self._database.read(query))
        self._started = now_ms()

    def read(self, since: int, tables: Sequence[str] = WRITTEN) -> dict[str, list[str]]:
        """Return the rows of tables; times since this moment are "now"."""

        def comparable(value: Any) -> Any:
            if not isinstance(value, int) or value < self._started:
                return value
            return "now" if value >= since else "earlier"

        return {
            table: sorted(
                str([*map(comparable, row)]) for row in self._database.read(f"SELECT * FROM {table}")
            )
            for table in tables
        }
