"""Filled stores for tests of the clients of tracking stores. Tests only read them, or copy them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlctl.adapters.tracking.store import TrackingStore
from tests import varied_store
from tests.parts import postgres as postgres_part
from tests.shared import make_once
from tests.varied_store import Stored


@pytest.fixture(scope="session")
def sqlite_store(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    def make(folder: Path) -> Any:
        file = folder / "mlflow.db"
        return varied_store.fill(f"sqlite:///{file}", varied_store.sqlite_executor(file), folder)

    template, ids = make_once(tmp_path_factory, "varied", make)
    file = shutil.copy(template / "mlflow.db", tmp_path_factory.mktemp("varied"))
    return Stored(TrackingStore(f"sqlite:///{file}"), ids)


@pytest.fixture(scope="session")
def postgres_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with postgres_part.running() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", postgres_part.PASSWORD)
        uri = server.uri(server.new_database()).replace("postgresql:", "postgresql+psycopg2:")
        ids = varied_store.fill(
            uri, varied_store.postgres_executor(uri), tmp_path_factory.mktemp("artifacts")
        )
        yield Stored(TrackingStore(uri), ids)


@pytest.fixture(scope="session")
def served_store(sqlite_store: Stored) -> Iterator[Stored]:
    with varied_store.serving(sqlite_store.store.tracking_uri) as uri:
        yield Stored(TrackingStore(uri), sqlite_store.ids)
