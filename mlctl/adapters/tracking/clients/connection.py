"""Open a tracking database without SQLAlchemy: a SQLite file, or PostgreSQL through psycopg2."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

BUSY_TIMEOUT_S = 20.0  # as MLflow's own
CONNECT_TIMEOUT_S = 3
POSTGRES_SCHEMES = ("postgresql://", "postgresql+psycopg2://", "postgres://")


class Database:
    """One connection; statements have `?` for their values. Each statement of `read` sees the newest state."""

    def __init__(self, tracking_uri: str) -> None:
        self.is_sqlite = tracking_uri.startswith("sqlite:")
        self._connection: Any = (
            _open_sqlite(tracking_uri) if self.is_sqlite else _open_postgres(tracking_uri)
        )

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query."""
        return list(self._execute(sql, values).fetchall())

    @contextlib.contextmanager
    def write(self) -> Iterator[None]:
        """Run the block as one transaction, which no other writer interrupts on SQLite."""
        if self.is_sqlite:
            self._execute("BEGIN IMMEDIATE")
        else:
            self._connection.autocommit = False
        try:
            yield
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        finally:
            if not self.is_sqlite:
                self._connection.autocommit = True

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

    def revision(self) -> str | None:
        """Return the revision of MLflow's schema; None without one."""
        with contextlib.suppress(*database_errors()):
            return str(self.read("SELECT version_num FROM alembic_version")[0][0])
        return None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        if self.is_sqlite:
            return self._connection.execute(sql, values)
        cursor = self._connection.cursor()
        cursor.execute(sql.replace("?", "%s"), values)
        return cursor


def marks(values: Sequence[Any]) -> str:
    """Return one `?` for each value, separated by commas."""
    return ", ".join("?" * len(values))


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return int(time.time() * 1000)


def sqlite_path(tracking_uri: str) -> Path:
    """Return the file of a SQLite URI, relative to the working directory."""
    return Path(tracking_uri.partition(":///")[2].partition("?")[0] or ":memory:")


def database_errors() -> tuple[type[Exception], ...]:
    """Return the classes of the drivers' errors, of those drivers that are loaded."""
    postgres = sys.modules.get("psycopg2")
    return (sqlite3.Error, postgres.Error) if postgres else (sqlite3.Error,)


def _open_sqlite(tracking_uri: str) -> sqlite3.Connection:
    path = sqlite_path(tracking_uri)
    # for writing if that is allowed: SQLite must roll back what a killed writer left before it can read
    mode = "rw" if os.access(path, os.W_OK) else "ro"
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA case_sensitive_like = true")
    return connection


def _open_postgres(tracking_uri: str) -> Any:
    import psycopg2  # belongs to an extra

    connection = psycopg2.connect(
        "postgresql://" + tracking_uri.partition("://")[2], connect_timeout=CONNECT_TIMEOUT_S
    )
    connection.autocommit = True
    return connection
