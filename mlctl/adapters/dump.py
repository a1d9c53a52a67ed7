"""A tracking database as plain rows: out of one in a single moment, into an empty one of either kind.

Written in JSON lines rather than by pg_dump, so that sqlite can become PostgreSQL, and no client programs of
the right version are wanted.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import MetaData, text

from mlctl.domain.server import Backend
from mlctl.errors import BadDataError, RefusedError

AT_ONCE = 1000
VERSIONS = ("alembic_version", "alembic_version_auth")


def engine_of(backend: Backend) -> sqlalchemy.Engine:
    """Return an engine; the password goes in beside the URI, so that no message can show it."""
    given = {"password": backend.password} if backend.password else {}
    return sqlalchemy.create_engine(backend.uri, connect_args={} if backend.sqlite_file else given)


@contextlib.contextmanager
def snapshot(backend: Backend) -> Iterator[sqlalchemy.Connection]:
    """Open a database as it is at this moment, whatever is written to it meanwhile."""
    with contextlib.ExitStack() as stack:
        if backend.sqlite_file:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlctl-backup-")))
            with (
                contextlib.closing(sqlite3.connect(backend.sqlite_file, timeout=30)) as source,
                contextlib.closing(sqlite3.connect(folder / "copy.db")) as copy,
            ):
                source.backup(copy)
            engine = sqlalchemy.create_engine(f"sqlite:///{folder / 'copy.db'}")
            stack.callback(engine.dispose)
            yield stack.enter_context(engine.connect())
            return
        engine = engine_of(backend)
        stack.callback(engine.dispose)
        connection = stack.enter_context(engine.connect())
        yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def revisions(connection: sqlalchemy.Connection) -> dict[str, str]:
    """Return the schema's revision, and that of basic-auth's tables where there are any."""
    present = set(sqlalchemy.inspect(connection).get_table_names())
    return {
        table: connection.execute(text(f"SELECT version_num FROM {table}")).scalar_one()  # noqa: S608  # constants
        for table in VERSIONS
        if table in present
    }


def tables(connection: sqlalchemy.Connection) -> list[sqlalchemy.Table]:
    """Return all tables but the revisions', each after those that it refers to."""
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name not in VERSIONS]


def rows(connection: sqlalchemy.Connection, table: sqlalchemy.Table) -> Iterator[bytes]:
    """Yield a table's rows, a line of JSON each, in the order of its key."""
    query = sqlalchemy.select(table).order_by(*table.primary_key.columns)
    for row in connection.execution_options(yield_per=AT_ONCE).execute(query):
        yield json.dumps([_plain(value) for value in row], ensure_ascii=False).encode() + b"\n"


def demand_empty(backend: Backend) -> None:
    """Raise RefusedError where a database holds anything that somebody made."""
    if (file := backend.sqlite_file) and not file.exists():
        return
    engine = engine_of(backend)
    with engine.connect() as connection:
        present = set(sqlalchemy.inspect(connection).get_table_names())
        for table in ("runs", "registered_models", "logged_models"):
            if table in present and connection.execute(text(f"SELECT count(*) FROM {table}")).scalar():  # noqa: S608
                raise RefusedError(
                    f"{backend.shown} is not empty: it has {table}", "restore into an empty database"
                )
    engine.dispose()


def create_schema(backend: Backend, wanted: dict[str, str]) -> None:
    """Create the tables of these revisions, where there are none."""
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base

    if file := backend.sqlite_file:
        file.parent.mkdir(parents=True, exist_ok=True)
    engine = engine_of(backend)
    if not sqlalchemy.inspect(engine).get_table_names():
        Base.metadata.create_all(engine)
        config = utils._get_alembic_config(backend.uri)
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, wanted["alembic_version"])
    if "alembic_version_auth" in wanted:
        from mlflow.server.auth.db import utils as auth

        auth.migrate(engine, wanted["alembic_version_auth"])
    engine.dispose()


def load(backend: Backend, lines: dict[str, Iterable[bytes]]) -> None:
    """Fill an empty schema, all or nothing: what migrations put there is replaced."""
    engine = engine_of(backend)
    with engine.begin() as connection:
        known = tables(connection)
        if unknown := set(lines) - {table.name for table in known}:
            raise BadDataError(
                f"the backup has tables that this database has not: {', '.join(sorted(unknown))}"
            )
        for table in reversed(known):
            connection.execute(table.delete())
        for table in known:
            _fill(connection, table, lines.get(table.name, ()))
    engine.dispose()


def _fill(connection: sqlalchemy.Connection, table: sqlalchemy.Table, lines: Iterable[bytes]) -> None:
    columns = [column for column in table.columns if column.computed is None]
    positions = [(list(table.columns).index(column), column.name) for column in columns]
    batch: list[dict[str, Any]] = []
    for line in lines:
        values = json.loads(line)
        batch.append({name: _restored(values[position]) for position, name in positions})
        if len(batch) == AT_ONCE:
            connection.execute(table.insert(), batch)
            batch = []
    if batch:
        connection.execute(table.insert(), batch)
    if connection.dialect.name == "postgresql":
        _advance_sequences(connection, table)


def _advance_sequences(connection: sqlalchemy.Connection, table: sqlalchemy.Table) -> None:
    """Let PostgreSQL count on from the restored keys: rows that bring a key do not move its sequence."""
    for column in table.primary_key.columns:
        name = {"table": f'"{table.name}"', "column": column.name}
        sequence = connection.execute(text("SELECT pg_get_serial_sequence(:table, :column)"), name).scalar()
        if sequence:
            last = connection.execute(sqlalchemy.select(sqlalchemy.func.max(column))).scalar()
            if last is not None:
                connection.execute(
                    text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last}
                )


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, memoryview)):
        return {"bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime.datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, (dict, list)):
        return {"json": value}
    return value


def _restored(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "bytes":
        return base64.b64decode(inner)
    return datetime.datetime.fromisoformat(inner) if kind == "datetime" else inner
