"""The tracking database asked directly, without loading MLflow: does it answer, and is its schema current?"""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlctl.adapters.database import schema
from mlctl.adapters.system import extras
from mlctl.domain.server import Backend, StrayExperiment
from mlctl.errors import (
    BadDataError,
    ConfigurationError,
    MlctlError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)

CONNECT_WITHIN_S = 2  # libpq's shortest
ANSWER_WITHIN_S = 1.2  # a preflight must not take longer than two seconds and a half
LOCAL = "artifact_location LIKE '/%' OR artifact_location LIKE 'file:%' OR artifact_location LIKE './%'"


def verify(backend: Backend, upgrade: bool) -> None:
    """Return where a server can use this database, or create what it lacks.

    Raises UnreachableError, ConfigurationError (password, driver), NotFoundError (no such database),
    BadDataError (not a database), RefusedError (schema of another MLflow, or not writable).
    """
    file = backend.sqlite_file
    if file and not file.exists():
        return
    with opened(backend) as connection:
        found = _revision(connection)
        if found is None or found == schema.newest_revision():
            return
    if found not in schema.revisions():
        raise RefusedError(
            f"the database's schema ({found}) was made by a newer MLflow than this one", "upgrade mlflow here"
        )
    if not upgrade:
        raise RefusedError(
            f"the database's schema ({found}) is older than this MLflow's ({schema.newest_revision()})",
            "make a backup (mlctl server-backup), then say --upgrade-db",
        )


def strays(backend: Backend) -> tuple[StrayExperiment, ...]:
    """Return the active experiments whose artifacts lie in a local folder."""
    if (file := backend.sqlite_file) and not file.exists():
        return ()
    with opened(backend) as connection:
        if _revision(connection) is None:
            return ()
        rows = select(
            connection,
            "SELECT experiment_id, name, artifact_location FROM experiments"  # noqa: S608  # LOCAL is a constant
            f" WHERE lifecycle_stage = 'active' AND ({LOCAL}) ORDER BY experiment_id",
        )
    return tuple(StrayExperiment(str(row[0]), row[1], row[2]) for row in rows)


NAMED = (  # every column that can begin with an experiment's location
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)


def folders_of(backend: Backend, stray: StrayExperiment) -> list[str]:
    """Return where in an experiment's folder its runs, models and traces have their artifacts."""
    wanted = (
        ("", "run_uuid", "runs"),
        ("models/", "model_id", "logged_models"),
        ("traces/", "request_id", "trace_info"),
    )
    with opened(backend) as connection:
        return [
            f"{above}{row[0]}/"
            for above, column, table in wanted
            for row in select(
                connection,
                f"SELECT {column} FROM {table} WHERE experiment_id = {int(stray.experiment_id)}",  # noqa: S608
            )
        ]


def relocate(backend: Backend, stray: StrayExperiment, location: str) -> None:
    """Let everything that names an experiment's folder name its new place, all in one transaction."""
    old = stray.location.rstrip("/")
    length = len(old)
    with opened(backend) as connection:
        cursor = connection.cursor()
        mark = "?" if backend.sqlite_file else "%s"
        for table, column in NAMED:
            cursor.execute(
                f"UPDATE {table} SET {column} = {mark} || substr({column}, {length + 1})"  # noqa: S608  # constants
                f" WHERE {column} = {mark} OR substr({column}, 1, {length + 1}) = {mark}",
                (location, old, f"{old}/"),
            )
        connection.commit()


def has_users(backend: Backend) -> bool:
    """Whether basic-auth's tables hold a user already, so that no first administrator is to be made."""
    if (file := backend.sqlite_file) and not file.exists():
        return False
    with opened(backend) as connection:
        try:
            return bool(select(connection, "SELECT count(*) FROM users")[0][0])
        except Exception:  # no such table: two drivers, two classes
            return False


@contextlib.contextmanager
def opened(backend: Backend) -> Iterator[Any]:
    """Open a plain DB-API connection; foreign errors that end it are raised as ours."""
    if backend.sqlite_file:
        try:
            connection: Any = sqlite3.connect(backend.sqlite_file, timeout=2)
        except sqlite3.Error as exc:
            raise _sqlite_error(exc, backend.sqlite_file) from exc
    else:
        connection = _postgres(backend)
    try:
        yield connection
    except sqlite3.Error as exc:
        assert backend.sqlite_file
        raise _sqlite_error(exc, backend.sqlite_file) from exc
    finally:
        connection.close()


def _revision(connection: Any) -> str | None:
    """Return the schema's revision, None for an empty database."""
    if isinstance(connection, sqlite3.Connection):
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
    else:
        tables = (
            "SELECT tablename FROM pg_tables"
            " WHERE schemaname = current_schema() AND tablename = 'alembic_version'"
        )
    if not select(connection, tables):
        return None
    rows = select(connection, "SELECT version_num FROM alembic_version")
    return str(rows[0][0]) if rows else None


def select(connection: Any, sql: str) -> list[Any]:
    """Return all rows of a query."""
    cursor = connection.cursor()
    cursor.execute(sql)
    return list(cursor.fetchall())


def _sqlite_error(error: sqlite3.Error, file: Path) -> MlctlError:
    text = str(error)
    if isinstance(error, sqlite3.DatabaseError) and ("not a database" in text or "malformed" in text):
        return BadDataError(
            f"{file} is not an sqlite database ({text})", "restore it: mlctl server-restore FILE"
        )
    if "locked" in text:
        return RefusedError(f"{file} is locked by another program", "wait for it, or end it")
    return RefusedError(f"{file} cannot be used: {text}", "look at its permissions and at the free space")


def _postgres(backend: Backend) -> Any:
    extras.demand("psycopg2", "postgres", "PostgreSQL")
    import psycopg2  # only here: it is an extra's

    _demand_answer(backend)
    given: dict[str, Any] = {"password": backend.password} if backend.password else {}
    address = "postgresql://" + backend.uri.partition("://")[2]
    try:
        return psycopg2.connect(address, connect_timeout=CONNECT_WITHIN_S, **given)
    except psycopg2.Error as exc:
        raise _postgres_error(str(exc), backend) from exc


def _demand_answer(backend: Backend) -> None:
    """Raise UnreachableError where one host takes a connection, or nothing at all, and then says nothing.

    It is asked whether it speaks TLS, which every PostgreSQL answers with one letter. What else can be wrong
    is libpq's to tell, which waits longer.
    """
    parts = urlsplit(backend.uri)
    if not parts.hostname or "," in parts.netloc or "host=" in parts.query:
        return  # a socket of this machine, or several hosts
    with contextlib.suppress(OSError, ValueError):
        try:
            with socket.create_connection((parts.hostname, parts.port or 5432), ANSWER_WITHIN_S) as sock:
                sock.sendall(struct.pack("!ii", 8, 80877103))
                sock.recv(1)
        except TimeoutError as exc:
            raise UnreachableError(
                f"no database answers at {backend.host}: nothing came within {ANSWER_WITHIN_S} s",
                "is it running, and is the port right?",
            ) from exc


def _postgres_error(text: str, backend: Backend) -> MlctlError:
    """Say in one line what libpq says in several."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next(
        (line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line),
        lines[-1] if lines else "",
    )
    if "no password supplied" in text or "password authentication failed" in text or "pg_hba.conf" in text:
        return ConfigurationError(
            f"{backend.host} refuses the database's user: {said}",
            "give the password in PGPASSWORD, ~/.pgpass or --backend-file",
        )
    if "database" in text and "does not exist" in text:
        return NotFoundError(f"{backend.host}: {said}", "create it: createdb NAME")
    if "role" in text and "does not exist" in text:
        return ConfigurationError(
            f"{backend.host}: {said}", "createuser NAME, or name another user in --backend"
        )
    if "starting up" in text or "shutting down" in text or "recovery mode" in text:
        return UnreachableError(
            f"the database at {backend.host} is not ready: {said}", "try again in a moment"
        )
    if "could not translate host name" in text:
        return UnreachableError(f"no host is named {backend.host.rpartition(':')[0]}", "look at --backend")
    return UnreachableError(
        f"no database answers at {backend.host}: {said}", "is it running, and is the port right?"
    )
