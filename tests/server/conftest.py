"""Fixtures of the server's tests: a command line with its own folders, and real services."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parts import postgres as postgres_part
from tests.parts import server_zygote as server_zygote_part
from tests.parts.command_line import CommandLine
from tests.shared import make_once


@pytest.fixture(scope="session")
def server_zygote() -> server_zygote_part.ServerZygote:
    return server_zygote_part.connect()


@pytest.fixture
def mlctl(tmp_path: Path, server_zygote: server_zygote_part.ServerZygote) -> Iterator[CommandLine]:
    (tmp_path / "work").mkdir()
    line = CommandLine(tmp_path / "state", tmp_path / "work", zygote=server_zygote)
    yield line
    line.kill_servers()


@pytest.fixture
def empty_database(mlctl: CommandLine, empty_store: Callable[[Path], str]) -> Path:
    """Put an SQLite store with all tables into the working directory, so that no server has to create them."""
    empty_store(mlctl.cwd)
    return mlctl.cwd / "mlflow.db"


@pytest.fixture(autouse=True)
def _few_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default MLflow's client retries for minutes before it reports an error."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_part.Postgres]:
    with postgres_part.running() as server:
        yield server


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Return a function that puts an empty SQLite store into a folder and returns its URI.

    To create the schema takes seconds, so all tests copy one file.
    """

    def create_schema(folder: Path) -> None:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", "mlflow-artifacts:/").engine.dispose()

    def create(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(template / "mlflow.db", folder)
        return f"sqlite:///{folder}/mlflow.db"

    template, _ = make_once(tmp_path_factory, "empty-store", create_schema)
    return create
