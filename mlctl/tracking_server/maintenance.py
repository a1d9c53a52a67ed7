"""What a server does for its database and its counters while nothing is asked of it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

# Connections that are open read the statistics again only when the schema has changed: the table goes and comes.
WITHIN_SIGHT = """
    PRAGMA analysis_limit=1000;
    BEGIN IMMEDIATE;
    DROP TABLE IF EXISTS sqlite_stat1;
    ANALYZE;
    COMMIT;
"""
_seen: dict[str, int] = {}


def refresh_statistics(backend_uri: str) -> None:
    """Let sqlite learn how its tables have grown, so that it goes on choosing the right index.

    Without, the best of 10,000 runs takes seconds. PostgreSQL does this by itself.
    """
    if not backend_uri.startswith("sqlite:///"):
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_opened(backend_uri)) as connection:
        rows = connection.execute("SELECT coalesce(max(rowid), 0) FROM metrics").fetchone()[0]
        rows += connection.execute("SELECT coalesce(max(rowid), 0) FROM runs").fetchone()[0]
        if rows == _seen.get(backend_uri):
            return
        connection.executescript(WITHIN_SIGHT)
        _seen[backend_uri] = rows


def settle(backend_uri: str) -> None:
    """Leave an sqlite database as the one file that people copy, once nobody writes to it any more."""
    if backend_uri.startswith("sqlite:///"):
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_opened(backend_uri)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def forget_metrics(metrics_dir: str | None, pid: int) -> None:
    """Take a dead worker's gauges away; its counters go on counting."""
    if metrics_dir:
        for file in Path(metrics_dir).glob(f"gauge_live*_{pid}.db"):
            file.unlink(missing_ok=True)


def _opened(backend_uri: str) -> sqlite3.Connection:
    return sqlite3.connect(backend_uri.removeprefix("sqlite:///"), timeout=1)
