"""Tables of an SQLite database: FILE.db::TABLE, or the only table of FILE.db."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from mlctl.data.tables.formats.content import ReadOptions, TableContent
from mlctl.data.tables.formats.typed_values import typed_frame
from mlctl.errors import BadDataError, NotFoundError, UsageError, did_you_mean

SEPARATOR = "::"


def split_table(path: Path) -> tuple[Path, str]:
    """Return the database, and the table that a path names; "" for none."""
    file, _, table = str(path).partition(SEPARATOR)
    return Path(file), table


def read_sqlite(path: Path, options: ReadOptions) -> TableContent:
    """Return a table or view of a database."""
    import pandas as pd

    file, wanted = split_table(path)
    if not file.is_file():
        raise NotFoundError(f"there is no file {file}", "check the path")
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            table = _choose_table(connection, file, wanted)
            quoted = table.replace('"', '""')
            limit = f" LIMIT {int(options.rows)}" if options.rows else ""
            cursor = connection.execute(f'SELECT * FROM "{quoted}"{limit}')  # noqa: S608  # the name is one of the database's
            names = [description[0] for description in cursor.description]
            rows = cursor.fetchall()
    except sqlite3.Error as exc:
        raise BadDataError(f"{file} is not a readable SQLite database: {exc}", "check the file") from exc
    columns = [
        (name, pd.Series([row[place] for row in rows], dtype=object)) for place, name in enumerate(names)
    ]
    frame, notes = typed_frame(columns)
    return TableContent(frame=frame, description=f"SQLite, table {table!r}", notes=notes)


def _choose_table(connection: sqlite3.Connection, file: Path, wanted: str) -> str:
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " ORDER BY name"
    )
    tables = [str(name) for (name,) in found]
    if wanted:
        match = next((name for name in tables if name.casefold() == wanted.casefold()), None)
        if match is None:
            hint = did_you_mean(wanted, tables) or f"the tables are {', '.join(tables[:12]) or 'none'}"
            raise NotFoundError(f"{file} has no table {wanted!r}", hint)
        return match
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise BadDataError(f"{file} holds no table", "check the file")
    raise UsageError(
        f"{file} holds {len(tables)} tables: {', '.join(tables[:12])}",
        f"name one of them: {file}{SEPARATOR}{tables[0]}",
    )
