"""Read the audit log of a tracking server."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlctl.adapters.system import local_servers
from mlctl.domain.audit import AuditEntries, AuditEntry
from mlctl.errors import NotFoundError
from mlctl.tracking_server.audit_log import OLD_FILES, old_file

SUFFIX = ".audit.jsonl"


def audit_file(name: str, state_dir: Path) -> Path:
    """Return the file of a server's audit log."""
    return local_servers.server_files(state_dir).path(name, SUFFIX)


def read_audit_log(
    name: str, state_dir: Path, *, lines: int, user: str | None = None, since_s: float | None = None
) -> AuditEntries:
    """Return the last entries of a server's log, of one user and of the last `since_s` seconds if they are given.

    Raises NotFoundError if this machine has started no server of this name.
    """
    file = audit_file(name, state_dir)
    if not file.exists() and not file.with_name(f"{name}.log").exists():
        raise NotFoundError(
            f"there is no audit log of a server named {name!r} on this machine",
            "list the servers: mlctl server-status --all",
        )
    since = (datetime.now(UTC) - timedelta(seconds=since_s)).isoformat() if since_s is not None else ""
    found = (entry for entry in _entries(file) if entry.at >= since and (user is None or entry.user == user))
    return AuditEntries(name, tuple(deque(found, maxlen=lines)))


def _entries(file: Path) -> Iterator[AuditEntry]:
    """Yield all entries, the oldest first. A line that was torn by a crash is left out."""
    for part in (*(old_file(file, number) for number in range(OLD_FILES, 0, -1)), file):
        if not part.exists():
            continue
        with part.open(encoding="utf-8", errors="replace") as text:
            for line in text:
                try:
                    entry = json.loads(line)
                    yield AuditEntry(source=entry.pop("from"), **entry)
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue
