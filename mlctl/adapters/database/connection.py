"""Direct access to the tracking database without importing MLflow: does it answer, and is its schema current?"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlctl.adapters.database import mysql, schema
from mlctl.adapters.system.extras import require_extra
from mlctl.domain.server import Backend, LocalExperiment
from mlctl.errors import (
    BadDataError,
    ConfigurationError,
    MlctlError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)
from mlctl.mysql import use_environment

CONNECT_TIMEOUT_S = 2  # the shortest that libpq accepts
PROBE_TIMEOUT_S = 1.2  # the checks before a server starts must not take longer than 2.5 seconds
SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # of the PostgreSQL protocol
LOCAL = "artifact_location LIKE '/%' OR artifact_location LIKE 'file:%' OR artifact_location LIKE './%'"
LOCATION_COLUMNS = (  # every column whose value can start with an experiment's artifact location
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
ARTIFACT_FOLDERS = (  # parent folder in an experiment's location, column that names the folder, table
    ("", "run_uuid", "runs"),
    ("models/", "model_id", "logged_models"),
    ("traces/", "request_id", "trace_info"),
)


def check_database(backend: Backend, *, upgrade: bool) -> None:
    """Check that a server can use this database; a SQLite file that does not exist is fine.

    Raises:
        UnreachableError: Nothing answers.
        ConfigurationError: The password is wrong, or the driver is missing.
        NotFoundError: There is no such database.
        BadDataError: The file is not a database.
        RefusedError: The schema is that of a newer MLflow, or of an older one without `upgrade`; or the database
            cannot be written.
    """
    file = backend.sqlite_file
    if file and not file.exists():
        return
    with open_connection(backend) as connection:
        revision = _revision(connection, is_mysql=backend.is_mysql)
        if revision is None and backend.is_mysql:
            mysql.require_all_characters(connection, backend)
        if revision is None or revision == schema.newest_revision():
            return
    if revision not in schema.revisions():
        raise RefusedError(
            f"a newer MLflow than this one made the database's schema ({revision})", "upgrade mlflow here"
        )
    if not upgrade:
        raise RefusedError(
            f"the database's schema ({revision}) is older than this MLflow's ({schema.newest_revision()})",
            "make a backup (mlctl server-backup), then pass --upgrade-db",
        )


def list_stray_experiments(backend: Backend) -> tuple[LocalExperiment, ...]:
    """Return the active experiments that keep their artifacts in a local folder."""
    if (file := backend.sqlite_file) and not file.exists():
        return ()
    with open_connection(backend) as connection:
        if _revision(connection, is_mysql=backend.is_mysql) is None:
            return ()
        rows = select(
            connection,
            "SELECT experiment_id, name, artifact_location FROM experiments"  # noqa: S608  # LOCAL is a constant
            f" WHERE lifecycle_stage = 'active' AND ({LOCAL}) ORDER BY experiment_id",
        )
    return tuple(
        LocalExperiment(experiment_id=str(experiment_id), name=name, location=location)
        for experiment_id, name, location in rows
    )


def list_workspaces_in_use(backend: Backend) -> tuple[str, ...]:
    """Return the workspaces that have experiments, without the default one."""
    if (file := backend.sqlite_file) and not file.exists():
        return ()
    with open_connection(backend) as connection:
        if _revision(connection, is_mysql=backend.is_mysql) != schema.newest_revision():
            return ()  # an older schema may have no workspaces; the server's own check follows
        return tuple(
            name
            for (name,) in select(
                connection,
                "SELECT DISTINCT workspace FROM experiments WHERE workspace <> 'default' ORDER BY workspace",
            )
        )


def artifact_folders(backend: Backend, stray: LocalExperiment) -> list[str]:
    """Return the folders, relative to the experiment's location, of its runs, models and traces."""
    with open_connection(backend) as connection:
        return [
            f"{parent}{row[0]}/"
            for parent, column, table in ARTIFACT_FOLDERS
            for row in select(
                connection,
                f"SELECT {column} FROM {table} WHERE experiment_id = {int(stray.experiment_id)}",  # noqa: S608
            )
        ]


def change_artifact_location(backend: Backend, stray: LocalExperiment, location: str) -> None:
    """Replace an experiment's artifact location in every column that contains it, in one transaction."""
    old = stray.location.rstrip("/")
    length = len(old)
    with open_connection(backend) as connection:
        cursor = connection.cursor()
        mark = "?" if backend.sqlite_file else "%s"
        for table, column in LOCATION_COLUMNS:
            cursor.execute(
                f"UPDATE {table} SET {column} = {mark} || substr({column}, {length + 1})"  # noqa: S608  # constants
                f" WHERE {column} = {mark} OR substr({column}, 1, {length + 1}) = {mark}",
                (location, old, f"{old}/"),
            )
        connection.commit()


def has_users(backend: Backend) -> bool:
    """Return whether the tables of basic-auth contain a user, so that no first administrator is needed."""
    if (file := backend.sqlite_file) and not file.exists():
        return False
    with open_connection(backend) as connection:
        try:
            return bool(select(connection, "SELECT count(*) FROM users")[0][0])
        except Exception:  # there is no such table; each driver has its own class for that
            return False


@contextlib.contextmanager
def open_connection(backend: Backend) -> Iterator[Any]:
    """Yield a DB-API connection; a driver's errors in the block are raised as mlctl's."""
    if backend.sqlite_file:
        try:
            connection: Any = sqlite3.connect(backend.sqlite_file, timeout=2)
        except sqlite3.Error as exc:
            raise _sqlite_error(exc, backend.sqlite_file) from exc
    else:
        connection = mysql.open_backend(backend) if backend.is_mysql else _connect_postgres(backend)
    try:
        yield connection
    except sqlite3.Error as exc:
        assert backend.sqlite_file
        raise _sqlite_error(exc, backend.sqlite_file) from exc
    finally:
        connection.close()


def give_password(backend: Backend) -> None:
    """Let MLflow's own code, which takes only a URI, find the password."""
    if backend.password:
        os.environ[backend.password_variable] = backend.password
    if backend.is_mysql:
        use_environment()


def select(connection: Any, sql: str) -> list[Any]:
    """Return all rows of a query."""
    cursor = connection.cursor()
    cursor.execute(sql)
    return list(cursor.fetchall())


def _revision(connection: Any, *, is_mysql: bool) -> str | None:
    """Return the schema's revision; None for an empty database."""
    if isinstance(connection, sqlite3.Connection):
        tables = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
    else:
        current = "database()" if is_mysql else "current_schema()"
        tables = (
            "SELECT 1 FROM information_schema.tables"  # noqa: S608  # one of two constants
            f" WHERE table_schema = {current} AND table_name = 'alembic_version'"
        )
    if not select(connection, tables):
        return None
    rows = select(connection, "SELECT version_num FROM alembic_version")
    return str(rows[0][0]) if rows else None


def _sqlite_error(error: sqlite3.Error, file: Path) -> MlctlError:
    text = str(error)
    if isinstance(error, sqlite3.DatabaseError) and ("not a database" in text or "malformed" in text):
        return BadDataError(
            f"{file} is not an sqlite database ({text})", "restore a backup: mlctl server-restore FILE"
        )
    if "locked" in text:
        return RefusedError(f"another program has locked {file}", "wait until it ends, or stop it")
    return RefusedError(f"cannot use {file}: {text}", "check its permissions and the free disk space")


def _connect_postgres(backend: Backend) -> Any:
    require_extra("psycopg2", "postgres", "PostgreSQL")
    import psycopg2  # belongs to an extra

    _probe_postgres(backend)
    password: dict[str, Any] = {"password": backend.password} if backend.password else {}
    address = "postgresql://" + backend.uri.partition("://")[2]
    try:
        return psycopg2.connect(address, connect_timeout=CONNECT_TIMEOUT_S, **password)
    except psycopg2.Error as exc:
        raise _postgres_error(str(exc), backend) from exc


def _probe_postgres(backend: Backend) -> None:
    """Raise UnreachableError if the host accepts the connection, or not even that, and sends nothing.

    The probe asks for TLS, which every PostgreSQL answers with one letter. libpq reports all other problems, but its
    own timeout is longer.
    """
    parts = urlsplit(backend.uri)
    if not parts.hostname or "," in parts.netloc or "host=" in parts.query:
        return  # a socket of this machine, or several hosts
    with contextlib.suppress(OSError, ValueError):
        try:
            with socket.create_connection((parts.hostname, parts.port or 5432), PROBE_TIMEOUT_S) as sock:
                sock.sendall(SSL_REQUEST)
                sock.recv(1)
        except TimeoutError as exc:
            raise UnreachableError(
                f"no database answers at {backend.host}: nothing came within {PROBE_TIMEOUT_S} s",
                "check that it runs, and the port",
            ) from exc


def _postgres_error(text: str, backend: Backend) -> MlctlError:
    """Return mlctl's error for a message of libpq, shortened to one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = next(
        (line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line),
        lines[-1] if lines else "",
    )
    if "no password supplied" in text or "password authentication failed" in text or "pg_hba.conf" in text:
        return ConfigurationError(
            f"{backend.host} refuses the database's user: {reason}",
            "give the password in PGPASSWORD, ~/.pgpass or --backend-file",
        )
    if "database" in text and "does not exist" in text:
        return NotFoundError(f"{backend.host}: {reason}", "create it: createdb NAME")
    if "role" in text and "does not exist" in text:
        return ConfigurationError(
            f"{backend.host}: {reason}", "create the user (createuser NAME), or name another in --backend"
        )
    if "starting up" in text or "shutting down" in text or "recovery mode" in text:
        return UnreachableError(
            f"the database at {backend.host} is not ready: {reason}", "try again in a moment"
        )
    if "could not translate host name" in text:
        return UnreachableError(f"unknown host {backend.host.rpartition(':')[0]}", "check --backend")
    return UnreachableError(
        f"no database answers at {backend.host}: {reason}", "check that it runs, and the port"
    )
