"""Report the state of servers: their process, their database, and the number of rows in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlctl.adapters.system import local_servers
from mlctl.domain.server import ServerList, TrackingServer
from mlctl.services.server.logs import errors_in
from mlctl.services.server.server_state import (
    read_readiness,
    read_row_counts,
    read_state,
    to_tracking_server,
)


def server_status(name: str, state_dir: Path) -> TrackingServer:
    """Return the state of a server now; raises NotFoundError if none of this name was started here."""
    return _status(read_state(local_servers.server_files(state_dir), name))


def all_server_statuses(state_dir: Path) -> ServerList:
    """Return every server that was started here and not stopped."""
    files = local_servers.server_files(state_dir)
    states = [state for name in files.names() if (state := files.read(name))]
    return ServerList(tuple(_status(state) for state in states))


def _status(state: dict[str, Any]) -> TrackingServer:
    process = local_servers.server_process(state)
    errors = errors_in(Path(state["log"]))
    if not process.is_alive():
        return to_tracking_server(state, "gone", errors=errors)
    readiness = read_readiness(state)
    if not readiness or not readiness["ready"]:
        trouble = readiness["trouble"] if readiness else "it does not answer"
        memory_mb = process.memory_mb()
        return to_tracking_server(state, "not ready", trouble=trouble, errors=errors, memory_mb=memory_mb)
    return to_tracking_server(
        state,
        "up",
        started_at=process.started,
        mlflow=readiness["mlflow"],
        counts=read_row_counts(state),
        memory_mb=process.memory_mb(),
        errors=errors,
    )
