"""Reading a server's log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mlctl.adapters.system import log_tail
from mlctl.errors import NotFoundError
from mlctl.services.server import server_state

LOOKED_AT = 256 * 1024  # bytes at a log's end in which recent errors are sought


def tail(name: str, lines: int, state_dir: Path) -> list[str]:
    """Return the last lines of a server's log."""
    return log_tail.last_lines(_log(name, state_dir), lines)


def follow(name: str, state_dir: Path) -> Iterator[str]:
    """Yield what a server adds to its log from now on, until the server is gone."""
    book = server_state.notes(state_dir)

    def alive() -> bool:
        note = book.read(name)
        return note is not None and server_state.process_of(note).alive()

    return log_tail.added(_log(name, state_dir), alive)


def errors_in(log: Path, since: int = 0, at_most: int = 5) -> tuple[str, ...]:
    """Return the last lines at its end that tell of an error, after byte `since`."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(since, size - LOOKED_AT))
        lines = file.read().decode(errors="replace").splitlines()
        told = [line for line in lines if " ERROR " in line or " CRITICAL " in line]
        return tuple(told[-at_most:])
    return ()


def _log(name: str, state_dir: Path) -> Path:
    book = server_state.notes(state_dir)
    note = book.read(name)
    log = Path(note["log"]) if note else book.path(name, ".log")
    if not log.is_file():
        raise NotFoundError(
            f"there is no log of a server named {name!r}", "mlctl server-status --all lists them"
        )
    return log
