"""Maintenance of the database and of the metrics folder, which the launcher does between requests."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

# An open connection reads the statistics again only when the schema changes. So the table is dropped and made anew.
ANALYZE_FOR_OPEN_CONNECTIONS = """
    PRAGMA analysis_limit=1000;
    BEGIN IMMEDIATE;
    DROP TABLE IF EXISTS sqlite_stat1;
    ANALYZE;
    COMMIT;
"""
_analyzed_rows: dict[str, int] = {}  # by database URI


def refresh_statistics(backend_uri: str) -> None:
    """Update SQLite's statistics when its tables have grown, so that it keeps choosing the right index.

    With outdated statistics, to find the best of 10,000 runs takes seconds. PostgreSQL updates them by itself.
    """
    if not backend_uri.startswith("sqlite:///"):
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_connect(backend_uri)) as connection:
        rows = connection.execute("SELECT coalesce(max(rowid), 0) FROM metrics").fetchone()[0]
        rows += connection.execute("SELECT coalesce(max(rowid), 0) FROM runs").fetchone()[0]
        if rows == _analyzed_rows.get(backend_uri):
            return
        connection.executescript(ANALYZE_FOR_OPEN_CONNECTIONS)
        _analyzed_rows[backend_uri] = rows


def checkpoint_database(backend_uri: str) -> None:
    """Merge SQLite's write-ahead log into the database, so that users can copy it as a single file."""
    if backend_uri.startswith("sqlite:///"):
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_connect(backend_uri)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def delete_worker_gauges(metrics_dir: str | None, pid: int) -> None:
    """Delete the gauges of a worker that died. Its counters stay in the sums."""
    if metrics_dir:
        for file in Path(metrics_dir).glob(f"gauge_live*_{pid}.db"):
            file.unlink(missing_ok=True)


def _connect(backend_uri: str) -> sqlite3.Connection:
    return sqlite3.connect(backend_uri.removeprefix("sqlite:///"), timeout=1)
