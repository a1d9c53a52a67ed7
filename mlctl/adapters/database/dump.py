"""A tracking database as plain rows: read from one database at one moment, written into an empty one of either kind.

The rows are JSON lines rather than the output of pg_dump, so that SQLite can become PostgreSQL, and so that no client
programs of the right version are needed.
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
from mlctl.adapters.database.connection import LOCATION_COLUMNS, give_password
from mlctl.domain.server import Backend
from mlctl.errors import BadDataError, RefusedError
from mlctl.mysql import allow_auth_migrations

BATCH_SIZE = 1000
VERSION_TABLES = {"alembic_version": schema.TRACKING, "alembic_version_auth": schema.AUTH}
TRANSIENT_TABLES = {"job_locks", "scheduler_leases"}  # what running servers hold for a moment
USER_ROWS = {  # in tables into which migrations put a row: which rows are not theirs
    "experiments": "experiment_id <> 0 OR name <> 'Default'",
    "workspaces": "name <> 'default'",
}
LOCATED = {  # by table: kind of a row, columns of its name, columns of its location, column that tells if it is deleted
    "experiments": ("experiment", ("name",), ("artifact_location",), "lifecycle_stage"),
    "runs": ("run", ("run_uuid",), ("artifact_uri",), "lifecycle_stage"),
    "logged_models": ("model", ("model_id",), ("artifact_location",), "lifecycle_stage"),
    "model_versions": ("version", ("name", "version"), ("storage_location", "source"), "current_stage"),
}
DELETED_STAGES = ("deleted", "Deleted_Internal")


@contextlib.contextmanager
def open_engine(backend: Backend) -> Iterator[sqlalchemy.Engine]:
    """Yield an engine; the password is not in its URI, so that no message can show it."""
    give_password(backend)
    engine = sqlalchemy.create_engine(backend.uri)
    try:
        yield engine
    except sqlalchemy.exc.DBAPIError as exc:
        reason = str(exc.orig).strip().partition("\n")[0]
        raise RefusedError(
            f"{backend.display_uri} refuses the request: {reason}",
            "check the user's rights and the disk space",
        ) from exc
    finally:
        engine.dispose()


@contextlib.contextmanager
def snapshot(backend: Backend) -> Iterator[sqlalchemy.Connection]:
    """Yield a connection that reads the database as it is now, whatever others write to it meanwhile."""
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
        engine = stack.enter_context(open_engine(backend))
        connection = stack.enter_context(engine.connect())
        yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def read_revisions(connection: sqlalchemy.Connection) -> dict[str, str]:
    """Return the schema revision by version table, also that of basic-auth's tables; {} without tables."""
    present = set(sqlalchemy.inspect(connection).get_table_names())
    found = {
        table: connection.execute(text(f"SELECT version_num FROM {table}")).scalar()  # noqa: S608  # constants
        for table in VERSION_TABLES
        if table in present
    }
    return {table: str(revision) for table, revision in found.items() if revision}


def reflect_tables(connection: sqlalchemy.Connection) -> list[sqlalchemy.Table]:
    """Return MLflow's tables, each after those that it refers to; other programs' tables are left out."""
    own = schema.mlflow_tables() - TRANSIENT_TABLES
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: name in own)
    for table in metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, sqlalchemy.Float):
                column.type.asdecimal = False  # for MySQL it is true, with ten digits after the point
    return [table for table in metadata.sorted_tables if table.name in own]


def artifact_locations(
    connection: sqlalchemy.Connection, tables: Iterable[sqlalchemy.Table]
) -> list[tuple[str, str, str]]:
    """Return (kind, id or name, artifact location) of everything that is not deleted."""
    locations = []
    for table in tables:
        if table.name in LOCATED:
            kind, name_columns, location_columns, stage = LOCATED[table.name]
            query = table.select().where(table.c[stage].not_in(DELETED_STAGES))
            for row in connection.execute(query).mappings():
                location = next((row[column] for column in location_columns if row.get(column)), None)
                if location:
                    locations.append((kind, "/".join(str(row[column]) for column in name_columns), location))
    return locations


def dump_rows(connection: sqlalchemy.Connection, table: sqlalchemy.Table) -> Iterator[bytes]:
    """Yield a table's rows in the order of its key, each as a line of JSON."""
    query = sqlalchemy.select(table).order_by(*table.primary_key.columns)
    for row in connection.execution_options(yield_per=BATCH_SIZE).execute(query):
        yield json.dumps([_to_json(value) for value in row], ensure_ascii=False).encode() + b"\n"


def require_restorable(backend: Backend, revisions: Mapping[str, str], table_names: Iterable[str]) -> None:
    """Check, before anything changes, that rows of these revisions and tables can be loaded into a database.

    Raises BadDataError for tables that are not MLflow's; RefusedError if the database contains something that a user
    made, or has another schema.
    """
    if unknown := set(table_names) - schema.mlflow_tables():
        raise BadDataError(f"the backup has tables that are not MLflow's: {', '.join(sorted(unknown))}")
    for version, folder in VERSION_TABLES.items():
        if version in revisions and revisions[version] not in schema.revisions(folder):
            raise RefusedError(
                f"a newer MLflow than this one made the backup's schema ({revisions[version]})",
                "upgrade mlflow here",
            )
    if (file := backend.sqlite_file) and not file.exists():
        return
    with open_engine(backend) as engine, engine.connect() as connection:
        present, found = reflect_tables(connection), read_revisions(connection)
        if present and "alembic_version" not in found:
            raise RefusedError(
                f"{backend.display_uri} is not empty: it has the table {present[0].name} of another program",
                "restore into an empty database",
            )
        for version in VERSION_TABLES:
            if version in found and revisions.get(version, found[version]) != found[version]:
                raise RefusedError(
                    f"the backup's schema ({revisions[version]}) is not that of {backend.display_uri} ({found[version]})",
                    "restore into a database without tables, then run: mlctl server-up --upgrade-db",
                )
        for table in present:
            query = sqlalchemy.select(sqlalchemy.literal(1)).select_from(table).limit(1)
            if connection.execute(query.where(text(USER_ROWS.get(table.name, "1 = 1")))).first():
                raise RefusedError(
                    f"{backend.display_uri} is not empty: it has {table.name}",
                    "restore into an empty database",
                )


def create_schema(backend: Backend, revisions: Mapping[str, str]) -> None:
    """Create the tables of these revisions, if the database has none."""
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base

    if file := backend.sqlite_file:
        file.parent.mkdir(parents=True, exist_ok=True)
    if backend.is_mysql:
        allow_auth_migrations()
    with open_engine(backend) as engine:
        with engine.connect() as connection:
            exists = "alembic_version" in read_revisions(connection)
        if not exists:
            Base.metadata.create_all(engine)
            config = utils._get_alembic_config(backend.uri)
            with engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, revisions["alembic_version"])
        if "alembic_version_auth" in revisions:
            from mlflow.server.auth.db import utils as auth

            auth.migrate(engine, revisions["alembic_version_auth"])


def load_rows(
    backend: Backend, lines: Mapping[str, Iterable[bytes]], moved: tuple[str, str] | None = None
) -> None:
    """Fill these tables of an empty schema in one transaction, and replace rows that migrations put there.

    If artifacts `moved` from one location to another, rows that name the old one name the new one afterwards.
    """
    with open_engine(backend) as engine, engine.begin() as connection:
        tables = [table for table in reflect_tables(connection) if table.name in lines]
        if missing := set(lines) - {table.name for table in tables}:
            raise BadDataError(
                f"the backup has tables that this database does not have: {', '.join(sorted(missing))}"
            )
        for table in reversed(tables):
            connection.execute(table.delete())
        for table in tables:
            _insert_rows(connection, table, lines[table.name])
        if moved:
            _change_locations(connection, tables, *moved)


def _change_locations(
    connection: sqlalchemy.Connection, tables: list[sqlalchemy.Table], old: str, new: str
) -> None:
    tables_by_name = {table.name: table for table in tables}
    for name, column_name in LOCATION_COLUMNS:
        if name in tables_by_name:
            table = tables_by_name[name]
            column = table.c[column_name]
            is_below = sqlalchemy.func.substr(column, 1, len(old) + 1) == f"{old}/"
            rest = sqlalchemy.literal(new).concat(sqlalchemy.func.substr(column, len(old) + 1))
            connection.execute(
                table.update().where(sqlalchemy.or_(column == old, is_below)).values({column_name: rest})
            )


def _insert_rows(connection: sqlalchemy.Connection, table: sqlalchemy.Table, lines: Iterable[bytes]) -> None:
    if connection.dialect.name in {"mysql", "mariadb"}:
        # else the experiment 0 would get another id
        connection.execute(text("SET SESSION sql_mode = concat(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"))
    columns = [(position, column) for position, column in enumerate(table.columns) if column.computed is None]
    batch: list[dict[str, Any]] = []
    for line in lines:
        values = json.loads(line)
        batch.append({column.name: _from_json(values[position], column) for position, column in columns})
        if len(batch) == BATCH_SIZE:
            connection.execute(table.insert(), batch)
            batch = []
    if batch:
        connection.execute(table.insert(), batch)
    if connection.dialect.name == "postgresql":
        _advance_sequences(connection, table)


def _advance_sequences(connection: sqlalchemy.Connection, table: sqlalchemy.Table) -> None:
    """Let PostgreSQL continue after the restored keys: rows that bring a key do not advance its sequence."""
    for column in table.primary_key.columns:
        name = {"table": f'"{table.name}"', "column": column.name}
        sequence = connection.execute(text("SELECT pg_get_serial_sequence(:table, :column)"), name).scalar()
        if sequence:
            last = connection.execute(sqlalchemy.select(sqlalchemy.func.max(column))).scalar()
            if last:  # a sequence cannot be set to 0, which is the key of the first experiment
                connection.execute(
                    text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last}
                )


def _to_json(value: Any) -> Any:
    if isinstance(value, (bytes, memoryview)):
        return {"bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime.datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, (dict, list)):
        return {"json": value}
    return value


def _from_json(value: Any, column: sqlalchemy.Column[Any]) -> Any:
    """Return a value for a column. MariaDB's columns of JSON are texts."""
    holds_json = isinstance(column.type, sqlalchemy.JSON)
    if isinstance(value, str) and holds_json:
        with contextlib.suppress(ValueError):
            return json.loads(value)
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "bytes":
        return base64.b64decode(inner)
    if kind == "json":
        return inner if holds_json else json.dumps(inner)
    return datetime.datetime.fromisoformat(inner)
