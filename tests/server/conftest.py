"""Fixtures of the server's tests: a command line with its own folders, and real services."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parts import postgres as postgres_part
from tests.parts.command_line import CommandLine
from tests.shared import make_once


@pytest.fixture
def mlctl(tmp_path: Path) -> Iterator[CommandLine]:
    (tmp_path / "work").mkdir()
    line = CommandLine(tmp_path / "state", tmp_path / "work")
    yield line
    line.kill_servers()


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
