"""Bringing a database's schema up, in a process that is thrown away afterwards, one at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mlctl.tracking_server.parent_death import say
from mlctl.tracking_server.server_config import ServerConfig

ADVISORY_LOCK = 0x6D6C63746C  # "mlctl": every server of ours takes this one lock of its database


def bring_up(plan: ServerConfig) -> int:
    """Create, or where the plan says so migrate, what the database lacks; return an exit code."""
    try:
        with _alone(plan.backend_uri):
            _prepare(plan)
    except Exception as error:  # whatever it is, the log must say it in one line
        lines = str(error).strip().splitlines() or [type(error).__name__]
        say("ERROR", f"the database cannot be used: {lines[0]}")
        return 1
    return 0


def _prepare(plan: ServerConfig) -> None:
    from mlflow.store.db import utils
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if plan.upgrade:
        engine = utils.create_sqlalchemy_engine(plan.backend_uri)
        if utils._all_tables_exist(engine) or not utils._is_empty_database(engine):
            utils._upgrade_db(engine)
        engine.dispose()
    SqlAlchemyStore(plan.backend_uri, plan.artifact_root)
    RegistryStore(plan.backend_uri)
    if plan.auth_config:
        from mlflow.server import auth

        auth.bootstrap_admin_user()


@contextlib.contextmanager
def _alone(backend_uri: str) -> Iterator[None]:
    """Hold the lock under which a database's schema is changed."""
    if backend_uri.startswith("sqlite:///"):
        file = Path(backend_uri.removeprefix("sqlite:///"))
        folder = os.open(file.parent, os.O_RDONLY)  # a folder can be locked, and nothing is left behind
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            connection = sqlite3.connect(file, timeout=20)
            connection.execute(
                "PRAGMA journal_mode=WAL"
            )  # readers and a writer no longer wait for each other
            connection.close()
            yield
        finally:
            os.close(folder)
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(backend_uri)
    with engine.connect() as holder:
        holder.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({ADVISORY_LOCK})"))
        yield
    engine.dispose()
