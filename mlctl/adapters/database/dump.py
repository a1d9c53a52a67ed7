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
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import MetaData, text

from mlctl.adapters.database import schema
from mlctl.adapters.database.connection import NAMED
from mlctl.domain.server import Backend
from mlctl.errors import BadDataError, RefusedError

AT_ONCE = 1000
VERSIONS = {"alembic_version": schema.TRACKING, "alembic_version_auth": schema.AUTH}
PASSING = {"job_locks", "scheduler_leases"}  # what servers that are up hold for a moment
MADE_BY_HAND = {  # in tables that migrations put a row into, which rows are not theirs
    "experiments": "experiment_id <> 0 OR name <> 'Default'",
    "workspaces": "name <> 'default'",
}
LOCATED = {  # by table: what a row is, what it is called, where its artifacts are, and whether it is deleted
    "experiments": ("experiment", ("name",), ("artifact_location",), "lifecycle_stage"),
    "runs": ("run", ("run_uuid",), ("artifact_uri",), "lifecycle_stage"),
    "logged_models": ("model", ("model_id",), ("artifact_location",), "lifecycle_stage"),
    "model_versions": ("version", ("name", "version"), ("storage_location", "source"), "current_stage"),
}
GONE = ("deleted", "Deleted_Internal")


@contextlib.contextmanager
def engine_of(backend: Backend) -> Iterator[sqlalchemy.Engine]:
    """Yield an engine; the password goes in beside the URI, so that no message can show it."""
    given = {"password": backend.password} if backend.password else {}
    engine = sqlalchemy.create_engine(backend.uri, connect_args={} if backend.sqlite_file else given)
    try:
        yield engine
    except sqlalchemy.exc.DBAPIError as exc:
        said = str(exc.orig).strip().partition("\n")[0]
        raise RefusedError(
            f"{backend.shown} does not take this: {said}", "look at its rights and space"
        ) from exc
    finally:
        engine.dispose()


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
        engine = stack.enter_context(engine_of(backend))
        connection = stack.enter_context(engine.connect())
        yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def revisions(connection: sqlalchemy.Connection) -> dict[str, str]:
    """Return the schema's revision, and that of basic-auth's tables; neither where there are no tables."""
    present = set(sqlalchemy.inspect(connection).get_table_names())
    found = {
        table: connection.execute(text(f"SELECT version_num FROM {table}")).scalar()  # noqa: S608  # constants
        for table in VERSIONS
        if table in present
    }
    return {table: str(revision) for table, revision in found.items() if revision}


def tables(connection: sqlalchemy.Connection) -> list[sqlalchemy.Table]:
    """Return MLflow's tables of data, each after those that it refers to; another program's are none of ours."""
    ours = schema.tables() - PASSING
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: name in ours)
    return [table for table in metadata.sorted_tables if table.name in ours]


def locations(
    connection: sqlalchemy.Connection, among: Iterable[sqlalchemy.Table]
) -> list[tuple[str, str, str]]:
    """Return where artifacts of all that is not deleted are: of what kind it is, its id or name, and a location."""
    found = []
    for table in among:
        if table.name in LOCATED:
            kind, whose, columns, stage = LOCATED[table.name]
            for row in connection.execute(table.select().where(table.c[stage].not_in(GONE))).mappings():
                location = next((row[column] for column in columns if row.get(column)), None)
                if location:
                    found.append((kind, "/".join(str(row[column]) for column in whose), location))
    return found


def rows(connection: sqlalchemy.Connection, table: sqlalchemy.Table) -> Iterator[bytes]:
    """Yield a table's rows, a line of JSON each, in the order of its key."""
    query = sqlalchemy.select(table).order_by(*table.primary_key.columns)
    for row in connection.execution_options(yield_per=AT_ONCE).execute(query):
        yield json.dumps([_plain(value) for value in row], ensure_ascii=False).encode() + b"\n"


def demand_fit(backend: Backend, wanted: Mapping[str, str], named: Iterable[str]) -> None:
    """Raise where rows of these revisions and tables cannot go into a database, before anything is changed.

    Raises BadDataError for tables that are not MLflow's; RefusedError where the database holds anything that
    somebody made, or where its schema is another.
    """
    if unknown := set(named) - schema.tables():
        raise BadDataError(f"the backup has tables that are not MLflow's: {', '.join(sorted(unknown))}")
    for table, folder in VERSIONS.items():
        if table in wanted and wanted[table] not in schema.revisions(folder):
            raise RefusedError(
                f"the backup's schema ({wanted[table]}) was made by a newer MLflow than this one",
                "upgrade mlflow here",
            )
    if (file := backend.sqlite_file) and not file.exists():
        return
    with engine_of(backend) as engine, engine.connect() as connection:
        present, found = tables(connection), revisions(connection)
        if present and "alembic_version" not in found:
            raise RefusedError(
                f"{backend.shown} is not empty: it has another program's {present[0].name}",
                "restore into an empty database",
            )
        for version in VERSIONS:
            if version in found and wanted.get(version, found[version]) != found[version]:
                raise RefusedError(
                    f"the backup's schema ({wanted[version]}) is not that of {backend.shown} ({found[version]})",
                    "restore into a database without tables, then say mlctl server-up --upgrade-db",
                )
        for one in present:
            rows = sqlalchemy.select(sqlalchemy.literal(1)).select_from(one).limit(1)
            if connection.execute(rows.where(text(MADE_BY_HAND.get(one.name, "1 = 1")))).first():
                raise RefusedError(
                    f"{backend.shown} is not empty: it has {one.name}", "restore into an empty database"
                )


def create_schema(backend: Backend, wanted: Mapping[str, str]) -> None:
    """Create the tables of these revisions, where there are none."""
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base

    if file := backend.sqlite_file:
        file.parent.mkdir(parents=True, exist_ok=True)
    with engine_of(backend) as engine:
        with engine.connect() as connection:
            there = "alembic_version" in revisions(connection)
        if not there:
            Base.metadata.create_all(engine)
            config = utils._get_alembic_config(backend.uri)
            with engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, wanted["alembic_version"])
        if "alembic_version_auth" in wanted:
            from mlflow.server.auth.db import utils as auth

            auth.migrate(engine, wanted["alembic_version_auth"])


def load(
    backend: Backend, lines: Mapping[str, Iterable[bytes]], moved: tuple[str, str] | None = None
) -> None:
    """Fill these tables of an empty schema, all or nothing: what migrations put there is replaced.

    Where artifacts were `moved` from one place to another, what names the one names the other afterwards.
    """
    with engine_of(backend) as engine, engine.begin() as connection:
        named = [table for table in tables(connection) if table.name in lines]
        if missing := set(lines) - {table.name for table in named}:
            raise BadDataError(
                f"the backup has tables that this database has not: {', '.join(sorted(missing))}"
            )
        for table in reversed(named):
            connection.execute(table.delete())
        for table in named:
            _fill(connection, table, lines[table.name])
        if moved:
            _rename(connection, named, *moved)


def _rename(connection: sqlalchemy.Connection, among: list[sqlalchemy.Table], old: str, new: str) -> None:
    known = {table.name: table for table in among}
    for name, column in NAMED:
        if name in known:
            here = known[name].c[column]
            begins = sqlalchemy.func.substr(here, 1, len(old) + 1) == f"{old}/"
            rest = sqlalchemy.literal(new).concat(sqlalchemy.func.substr(here, len(old) + 1))
            connection.execute(
                known[name].update().where(sqlalchemy.or_(here == old, begins)).values({column: rest})
            )


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
            if last:  # a sequence cannot be set to 0, which is the first experiment's
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
