"""What the server's tests share: a command line in a world of its own, and real parts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parts import postgres as postgres_part
from tests.parts.command_line import CommandLine


@pytest.fixture
def mlctl(tmp_path: Path) -> Iterator[CommandLine]:
    (tmp_path / "work").mkdir()
    line = CommandLine(tmp_path / "state", tmp_path / "work")
    yield line
    line.down()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client would try again for minutes before it tells what is wrong."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_part.Postgres]:
    with postgres_part.running() as server:
        yield server


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Put a fresh sqlite store into a folder; return its URI. Its schema is made once: that takes seconds."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    made = tmp_path_factory.mktemp("store") / "mlflow.db"
    SqlAlchemyStore(f"sqlite:///{made}", "mlflow-artifacts:/").engine.dispose()

    def put(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, folder / "mlflow.db")
        return f"sqlite:///{folder}/mlflow.db"

    return put
