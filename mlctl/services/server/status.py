"""Looking at servers: their process, their database, and what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlctl.domain.server import ServerList, TrackingServer
from mlctl.services.server import server_state
from mlctl.services.server.logs import errors_in


def status(name: str, state_dir: Path) -> TrackingServer:
    """Return a server as it is now; raises NotFoundError where none of that name was started here."""
    return _status(server_state.required(server_state.notes(state_dir), name))


def status_of_all(state_dir: Path) -> ServerList:
    """Return every server that was started here and not stopped."""
    book = server_state.notes(state_dir)
    found = [note for name in book.names() if (note := book.read(name))]
    return ServerList(tuple(_status(note) for note in found))


def _status(note: dict[str, Any]) -> TrackingServer:
    process = server_state.process_of(note)
    errors = errors_in(Path(note["log"]))
    if not process.alive():
        return server_state.described(note, "gone", errors=errors)
    said = server_state.ready(note)
    if not said or not said["ready"]:
        return server_state.described(note, "not ready", errors=errors, memory_mb=process.memory_mb())
    counts = server_state.ask(note, "/mlctl/status", as_user=True)
    return server_state.described(
        note,
        "up",
        began_at=process.started,
        mlflow=said["mlflow"],
        counts=counts if counts and "runs" in counts else None,
        memory_mb=process.memory_mb(),
        errors=errors,
    )
