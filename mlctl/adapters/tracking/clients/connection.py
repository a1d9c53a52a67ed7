"""Open a tracking database without MLflow: a SQLite file, PostgreSQL through psycopg2, or MySQL through PyMySQL."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, quote

from mlctl import mysql
from mlctl.adapters.tracking.clients.database_uri import POSTGRES_SCHEMES, postgres_arguments, sqlite_path
from mlctl.adapters.tracking.clients.entities import StoreError

BUSY_TIMEOUT_S = 20.0  # as MLflow's own
CONNECT_TIMEOUT_S = 3
KEYS_PER_QUERY = 500  # a statement of SQLite may have a thousand values


class Database:
    """A connection for each thread and process; statements have `?` for their values.

    Each statement of `read` sees the newest state. A connection that the server has closed is opened again.
    """

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri
        self.is_sqlite = tracking_uri.startswith("sqlite:")
        self.is_mysql = mysql.is_mysql(tracking_uri)
        self._local = threading.local()
        self._connect()

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query."""
        return list(self._execute(sql, values).fetchall())

    def read_grouped(
        self, query: str, keys: Sequence[str], first: Sequence[Any] = ()
    ) -> Mapping[str, list[tuple[Any, ...]]]:
        """Return the rows of a query that ends with IN, without their first column, the key, by that."""
        found: dict[str, list[tuple[Any, ...]]] = {}
        for start in range(0, len(keys), KEYS_PER_QUERY):
            some = keys[start : start + KEYS_PER_QUERY]
            for key, *values in self.read(f"{query} ({marks(some)})", [*first, *some]):
                found.setdefault(key, []).append(tuple(values))
        return found

    @contextlib.contextmanager
    def write(self) -> Iterator[None]:
        """Run the block as one transaction, which no other writer interrupts on SQLite."""
        self._execute("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN")
        self._local.is_writing = True
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            with contextlib.suppress(
                *database_errors()
            ):  # the database may have ended the transaction already
                self._execute("ROLLBACK")
            raise
        finally:
            self._local.is_writing = False

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that writes; return the number of rows that it changed."""
        return int(self._execute(sql, values).rowcount)

    def upsert(self, table: str, key: dict[str, Any], values: dict[str, Any]) -> None:
        """Insert a row, or change the one that has this key."""
        columns = [*key, *values]
        changes = ", ".join(f"{name} = excluded.{name}" for name in values)
        self.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks(columns)})"  # noqa: S608  # names are ours
            f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}",
            [*key.values(), *values.values()],
        )

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows; one whose key exists stays as it is. Call this within `write`."""
        if not rows:
            return
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES"  # names are ours
        connection = self._connect()
        if self.is_mysql:
            unchanged = f"ON DUPLICATE KEY UPDATE {columns[0]} = {columns[0]}"
            statement = _to_mysql(f"{insert} ({marks(columns)}) {unchanged}")
            connection.cursor().executemany(statement, rows)
            return
        if self.is_sqlite:
            connection.executemany(f"{insert} ({marks(columns)}) ON CONFLICT DO NOTHING", rows)
            return
        from psycopg2.extras import execute_values

        execute_values(connection.cursor(), f"{insert} %s ON CONFLICT DO NOTHING", rows, page_size=1000)

    def revision(self) -> str | None:
        """Return the revision of MLflow's schema; None without one."""
        with contextlib.suppress(*database_errors()):
            return str(self.read("SELECT version_num FROM alembic_version")[0][0])
        return None

    def close(self) -> None:
        """Close this thread's connection."""
        self._local.connection.close()

    def _connect(self) -> Any:
        """Return this thread's connection; open one if there is none, or if PostgreSQL has closed it."""
        local = self._local
        if getattr(local, "process", None) != os.getpid():
            local.inherited = getattr(
                local, "connection", None
            )  # closed here, it would be closed for the parent, too
        elif self.is_sqlite or local.is_writing or not _is_closed(local.connection):
            return local.connection
        open_database = _open_mysql if self.is_mysql else _open_sqlite if self.is_sqlite else _open_postgres
        local.connection = open_database(self.tracking_uri)
        local.process, local.is_writing = os.getpid(), False
        return local.connection

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        connection = self._connect()
        try:
            if self.is_sqlite:
                return connection.execute(sql, values)
            execute = _execute_mysql if self.is_mysql else _execute_postgres
            try:
                return execute(connection, sql, values)
            except database_errors():
                if self._local.is_writing or not _is_closed(connection):
                    raise
            return execute(self._connect(), sql, values)  # it was closed since the last statement
        except (ValueError, OverflowError) as exc:
            raise StoreError(
                f"the database cannot store this value: {exc}", "INVALID_PARAMETER_VALUE"
            ) from exc


def can_open(tracking_uri: str) -> bool:
    """Whether `Database` opens this store just as SQLAlchemy would."""
    if tracking_uri.startswith(POSTGRES_SCHEMES):
        return find_spec("psycopg2") is not None and postgres_arguments(tracking_uri) is not None
    path, _, options = tracking_uri.partition("?")
    return path.startswith("sqlite:///") and set(dict(parse_qsl(options))) <= {
        "timeout"
    }  # MLflow sets its own


def marks(values: Sequence[Any]) -> str:
    """Return one `?` for each value, separated by commas."""
    return ", ".join("?" * len(values))


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return int(time.time() * 1000)


def database_errors() -> tuple[type[Exception], ...]:
    """Return the classes of the drivers' errors, of those drivers that are loaded."""
    loaded = [sys.modules[name] for name in ("psycopg2", "pymysql") if name in sys.modules]
    return (sqlite3.Error, *(driver.Error for driver in loaded))


def _open_sqlite(tracking_uri: str) -> sqlite3.Connection:
    # "rw" makes no file, and reads one that cannot be written; SQLite must be able to roll back a killed writer
    address = f"file:{quote(str(sqlite_path(tracking_uri)))}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA case_sensitive_like = true")
    return connection


def _open_postgres(tracking_uri: str) -> Any:
    import psycopg2  # belongs to an extra

    arguments: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        **(postgres_arguments(tracking_uri) or {}),
    }
    connection = psycopg2.connect(**arguments)
    connection.autocommit = True
    return connection


def _execute_postgres(connection: Any, sql: str, values: Sequence[Any]) -> Any:
    cursor = connection.cursor()
    cursor.execute(sql.replace("?", "%s"), values)
    return cursor


def _open_mysql(tracking_uri: str) -> Any:
    return mysql.connect(tracking_uri, timeout_s=CONNECT_TIMEOUT_S, autocommit=True)


def _execute_mysql(connection: Any, sql: str, values: Sequence[Any]) -> Any:
    cursor = connection.cursor()
    cursor.execute(_to_mysql(sql), values)
    return cursor


def _to_mysql(sql: str) -> str:
    """Return a statement with MySQL's marks for values, and without `key` as a bare name, which is reserved there."""
    return re.sub(r"\bkey\b", "`key`", sql.replace("?", "%s"))


def _is_closed(connection: Any) -> bool:
    return bool(connection.closed) if hasattr(connection, "closed") else not connection.open
