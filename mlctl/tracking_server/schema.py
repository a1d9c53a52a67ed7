"""Create or migrate a database's schema, one process at a time. The launcher runs this in a child that then ends."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mlctl import mysql
from mlctl.files import locked_folder
from mlctl.tracking_server.log import log
from mlctl.tracking_server.server_config import ServerConfig

LOCK_TIMEOUT_S = 600  # MySQL has no lock without a time limit
ADVISORY_LOCK = 0x6D6C63746C  # "mlctl": every mlctl server takes this lock of its database


def migrate(config: ServerConfig) -> int:
    """Create the tables that the database lacks, and migrate it if the configuration allows; return an exit code."""
    try:
        with _schema_lock(config.backend_uri):
            _migrate(config)
    except Exception as error:  # whatever it is, the log must have one line about it
        lines = str(error).strip().splitlines() or [type(error).__name__]
        log("ERROR", f"the database cannot be used: {lines[0]}")
        return 1
    return 0


def _migrate(config: ServerConfig) -> None:
    from mlflow.store.db import utils
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if config.upgrade:
        engine = utils.create_sqlalchemy_engine(config.backend_uri)
        if utils._all_tables_exist(engine) or not utils._is_empty_database(engine):
            utils._upgrade_db(engine)
        engine.dispose()
    if config.settings.get("MLFLOW_ENABLE_WORKSPACES") == "true":
        from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore

        WorkspaceAwareSqlAlchemyStore(config.backend_uri, config.artifact_root)
    else:
        SqlAlchemyStore(config.backend_uri, config.artifact_root)
        RegistryStore(config.backend_uri)
    if config.auth_config:
        if mysql.is_mysql(config.backend_uri):
            mysql.allow_auth_migrations()
        from mlflow.server import auth

        from mlctl.tracking_server import access_tokens

        auth.bootstrap_admin_user()
        access_tokens.create_table(auth.store.engine)


@contextlib.contextmanager
def _schema_lock(backend_uri: str) -> Iterator[None]:
    """Hold the lock under which servers change a database's schema."""
    if backend_uri.startswith("sqlite:///"):
        file = Path(backend_uri.removeprefix("sqlite:///"))
        with locked_folder(file.parent):
            connection = sqlite3.connect(file, timeout=20)
            # with a write-ahead log, readers and a writer do not wait for each other
            connection.execute("PRAGMA journal_mode=WAL")
            connection.close()
            yield
        return
    import sqlalchemy

    if mysql.is_mysql(backend_uri):
        lock = f"SELECT GET_LOCK(concat('mlctl-', database()), {LOCK_TIMEOUT_S})"
    else:
        lock = f"SELECT pg_advisory_lock({ADVISORY_LOCK})"
    engine = sqlalchemy.create_engine(backend_uri)
    with engine.connect() as lock_holder:
        lock_holder.execute(sqlalchemy.text(lock))
        yield
    engine.dispose()
