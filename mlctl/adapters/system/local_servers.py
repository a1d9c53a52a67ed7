"""The tracking servers that were started on this machine: their state files, processes and databases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlctl.adapters.system.daemon import DaemonProcess
from mlctl.adapters.system.state_files import StateFiles


def server_files(state_dir: Path) -> StateFiles:
    """Return the state files of the servers of this machine."""
    return StateFiles(state_dir / "servers")


def server_process(state: Mapping[str, Any]) -> DaemonProcess:
    """Return the process of a server's state."""
    return DaemonProcess.from_state(state)


def running_servers(state_dir: Path, database_uri: str) -> list[dict[str, Any]]:
    """Return the state of each running server of this machine that uses this database."""
    files, wanted = server_files(state_dir), _database_identity(database_uri)
    states = [state for name in files.names() if (state := files.read(name))]
    return [
        state
        for state in states
        if _database_identity(state["place"]["backend"]) == wanted and server_process(state).is_alive()
    ]


def _database_identity(uri: str) -> str:
    """Return what distinguishes a database from others: its file, or host, port and name without the user."""
    parts = urlsplit(uri)
    if parts.scheme.startswith("sqlite"):
        return str(Path(uri.partition(":///")[2].partition("?")[0]).expanduser().resolve())
    return parts.netloc.rpartition("@")[2].removesuffix(":5432") + parts.path
