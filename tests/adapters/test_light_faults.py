"""Databases that are locked, not writable, replaced or restarted, and processes that fork or have threads."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql import psycopg2 as dialect

from mlctl.adapters.tracking.clients import connection
from mlctl.adapters.tracking.clients.connection import Database, can_open
from mlctl.adapters.tracking.clients.database_client import DatabaseClient
from mlctl.adapters.tracking.clients.database_uri import postgres_arguments, sqlite_path
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import ConfigurationError, NotFoundError, RefusedError, UnreachableError, UsageError
from tests import varied_store
from tests.varied_store import Stored


@pytest.fixture
def file(sqlite_store: Stored, tmp_path: Path) -> Path:
    """A copy of the filled SQLite file."""
    return Path(shutil.copy(sqlite_store.store.tracking_uri.removeprefix("sqlite:///"), tmp_path))


@pytest.fixture
def store(file: Path) -> TrackingStore:
    return TrackingStore(f"sqlite:///{file}")


@contextlib.contextmanager
def _locked(file: Path, how: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute(f"BEGIN {how}")
        yield other


def test_writer_waits_until_another_has_finished(store: TrackingStore, file: Path) -> None:
    registry = Registry(store)
    with _locked(file) as other:
        other.execute("UPDATE runs SET user_id = 'x'")
        assert registry.find_model("wine")
        ending = threading.Timer(0.1, lambda: other.execute("COMMIT"))
        ending.start()
        registry.set_model_tag("wine", "a", "b")
        ending.join()
    assert registry.get_model("wine").tags["a"] == "b"


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_database_that_stays_locked(
    store: TrackingStore, file: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.01)
    monkeypatch.setattr("mlctl.adapters.tracking.health.TIMEOUT_S", 0.01)
    monkeypatch.setattr("mlctl.adapters.tracking.registry.FIRST_PAUSE_S", 0)
    with _locked(file, how), pytest.raises(UnreachableError, match=r"^another program has locked"):
        Registry(store).set_model_tag("wine", "a", "b")
    Registry(store).set_model_tag("wine", "a", "b")
    assert Registry(store).get_model("wine").tags["a"] == "b"


@pytest.mark.parametrize("mode", [0o444, 0o644])
def test_file_and_folder_that_cannot_be_written(store: TrackingStore, file: Path, mode: int) -> None:
    runs = len(_read_and_write(store.tracking_uri)[0])
    with tempfile.TemporaryDirectory(prefix="mlctl-light-") as folder:
        copy = Path(shutil.copy(file, folder))
        copy.chmod(mode)
        Path(folder).chmod(0o555)
        with multiprocessing.get_context("fork").Pool(1, _become_nobody) as pool:
            found, error = pool.apply(_read_and_write, [f"sqlite:///{copy}"])
        Path(folder).chmod(0o755)
    assert len(found) == runs
    assert re.fullmatch("the tracking database sqlite:.* cannot be written", error)


def _become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def _read_and_write(uri: str) -> tuple[list[str], str]:
    store = TrackingStore(uri)
    runs = [run.run_id for run in store.search_runs()]
    try:
        Registry(store).set_model_tag("wine", "a", "b")
    except RefusedError as exc:
        return runs, exc.message
    return runs, ""


def test_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_text("no database" * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        _ = TrackingStore(f"sqlite:///{file}").client


def test_database_with_a_write_ahead_log_and_a_writer(store: TrackingStore, file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        before = {run.run_id for run in store.search_runs()}
        with _locked(file) as writer:
            writer.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
            assert {run.run_id for run in store.search_runs()} == before
            writer.execute("COMMIT")
        assert list(store.search_runs()) == []


def test_other_schemas_and_workspaces_are_left_to_mlflow(store: TrackingStore, file: Path) -> None:
    execute = varied_store.sqlite_executor(file)
    execute("UPDATE experiments SET workspace = 'team' WHERE name = 'digits'")
    with pytest.raises(RefusedError, match="workspace"):
        _ = TrackingStore(store.tracking_uri).client.tracking_uri
    execute("UPDATE alembic_version SET version_num = '0123456789ab'")
    with pytest.raises(ConfigurationError, match="has the schema of another MLflow version"):
        _ = TrackingStore(store.tracking_uri).experiments_by_id


def test_folder_with_unusual_characters(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a b%20c#d'é"
    folder.mkdir()
    shutil.move(file, folder / "mlflow.db")
    uri = f"sqlite:///{str(folder).replace('%', '%25')}/mlflow.db"
    assert make_url(uri).database == str(sqlite_path(uri))
    store = TrackingStore(uri)
    assert isinstance(store.client, DatabaseClient)
    assert list(store.search_runs())


def test_options_of_a_sqlite_uri(store: TrackingStore) -> None:
    assert isinstance(TrackingStore(f"{store.tracking_uri}?timeout=5").client, DatabaseClient)
    assert not can_open(f"{store.tracking_uri}?mode=ro&uri=true")
    assert not can_open("sqlite://")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def own_store(request: pytest.FixtureRequest) -> TrackingStore:
    """A copy of a filled store of either kind."""
    if request.param == "sqlite":
        return TrackingStore(f"sqlite:///{request.getfixturevalue('file')}")
    return TrackingStore(
        varied_store.copy_postgres(request.getfixturevalue("postgres_store").store.tracking_uri)
    )


def test_threads_share_a_store(own_store: TrackingStore) -> None:
    registry = Registry(own_store)
    registry.set_model_tag("wine", "thread", "first")

    def work(number: int) -> int:
        registry.set_version_tag("wine", "1", f"t{number}", str(number))
        registry.set_version_tag("wine", "1", "same", str(number))
        return len(list(own_store.search_runs()))

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(work, range(24))) == {30}
    tags = registry.get_version("wine", "1").tags
    assert {tags[f"t{number}"] for number in range(24)} == {str(number) for number in range(24)}


def test_forked_process_leaves_the_connection_alone(own_store: TrackingStore) -> None:
    registry = Registry(own_store)
    assert registry.find_model("wine")
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            registry.set_model_tag("wine", "child", "yes")
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert registry.get_model("wine").tags["child"] == "yes"


def test_failed_write_changes_nothing_and_leaves_the_connection_usable(own_store: TrackingStore) -> None:
    def write_and_fail(fail: Callable[[], Any]) -> None:
        with own_store.translate_errors(), own_store.client.database.write():
            own_store.client.database.execute("DELETE FROM registered_model_aliases")
            fail()

    with pytest.raises(ZeroDivisionError):
        write_and_fail(lambda: 1 / 0)
    with pytest.raises(UnreachableError):
        write_and_fail(lambda: own_store.client.database.execute("DELETE FROM no_such_table"))
    registry = Registry(own_store)
    assert registry.get_model("wine").aliases["champion"] == "2"
    with pytest.raises(NotFoundError):
        registry.set_alias("wine", "champion", "99")
    registry.set_alias("wine", "champion", "3")
    assert registry.get_model("wine").aliases["champion"] == "3"


@pytest.mark.parametrize(("kind", "text"), [("sqlite", "\udcff"), ("postgres", "a\0b")])
def test_text_that_a_database_cannot_store(own_store: TrackingStore, kind: str, text: str) -> None:
    if own_store.client.database.is_sqlite == (kind == "sqlite"):
        with pytest.raises(UsageError, match=r"^the database cannot store this value: ") as caught:
            Registry(own_store).set_model_tag("wine", "a", text)
        assert "\n" not in caught.value.message
    assert "a" not in Registry(own_store).get_model("wine").tags


@pytest.mark.needs("postgres")
def test_connection_that_postgres_has_closed_is_opened_again(postgres_store: Stored) -> None:
    store = TrackingStore(varied_store.copy_postgres(postgres_store.store.tracking_uri))
    registry = Registry(store)
    runs = len(list(store.search_runs()))
    varied_store.copy_postgres(store.tracking_uri)  # it ends all connections
    assert len(list(store.search_runs())) == runs
    varied_store.copy_postgres(store.tracking_uri)
    registry.set_model_tag("wine", "a", "b")

    def delete_half() -> None:
        with store.translate_errors(), store.client.database.write():
            store.client.database.execute("DELETE FROM registered_model_aliases")
            varied_store.copy_postgres(store.tracking_uri)
            store.client.database.execute("DELETE FROM registered_model_tags")

    with pytest.raises(UnreachableError):
        delete_half()
    assert registry.get_model("wine").tags["a"] == "b"
    assert registry.get_model("wine").aliases["champion"] == "2"


@pytest.mark.needs("postgres")
def test_driver_that_only_mlflow_needs(postgres_store: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # what SQLAlchemy 2.1 loads for postgresql://
    store = TrackingStore(postgres_store.store.tracking_uri.replace("+psycopg2", ""))
    assert isinstance(store.client, DatabaseClient)
    if tuple(map(int, sqlalchemy.__version__.split(".")[:2])) >= (2, 1):
        with pytest.raises(ConfigurationError, match=r"needs a driver that is not installed"):
            _ = store.mlflow_client


POSTGRES_URIS = (
    "postgresql://host/db", "postgresql+psycopg2://ann:p%40ss%2Fw%25rd@host:5433/my%20db",
    "postgresql://ann:sl/ash@host/db", "postgresql://ann@[::1]:5432/db", "postgresql:///db?host=/run/pg",
    "postgresql://host/db?sslmode=require&connect_timeout=7&options=-c%20x%3D1", "postgresql://", "postgresql:///",
    "postgresql://ann:a+b@host/db?application_name=m+l", "postgresql://:pw@host/", "postgresql://h/d?x=",
)  # fmt: skip


@pytest.mark.unit
@pytest.mark.parametrize("uri", POSTGRES_URIS)
def test_postgres_uris_are_read_as_sqlalchemy_reads_them(uri: str) -> None:
    (_, expected) = dialect.dialect().create_connect_args(make_url(uri))
    expected.pop("dsn", None)
    assert postgres_arguments(uri) == {name: str(value) for name, value in expected.items()}


@pytest.mark.unit
@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://a/d?host=b:1&host=c:2",
        "postgresql://a/d?host=b,c",
        "postgresql://a:x/d",
        "postgres://a/d",
    ],
)
def test_other_postgres_uris_are_left_to_sqlalchemy(uri: str) -> None:
    assert not can_open(uri)


def test_a_database_has_one_connection_for_each_thread(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    found: list[Any] = [database._connect(), database._connect()]
    with ThreadPoolExecutor(1) as pool:
        found.append(pool.submit(database._connect).result())
    assert found[0] is found[1]
    assert found[1] is not found[2]
