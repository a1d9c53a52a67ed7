"""Read a server's log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mlctl.adapters.system import local_servers, log_tail
from mlctl.errors import NotFoundError

SEARCHED_BYTES = 256 * 1024  # the end of a log, in which recent errors are searched


def tail_log(name: str, lines: int, state_dir: Path) -> list[str]:
    """Return the last lines of a server's log."""
    return log_tail.last_lines(_log_file(name, state_dir), lines)


def follow_log(name: str, state_dir: Path) -> Iterator[str]:
    """Yield what a server adds to its log from now on, until the server ends."""
    files = local_servers.server_files(state_dir)

    def is_alive() -> bool:
        state = files.read(name)
        return state is not None and local_servers.server_process(state).is_alive()

    return log_tail.follow(_log_file(name, state_dir), is_alive)


def errors_in(log: Path, since: int = 0, at_most: int = 5) -> tuple[str, ...]:
    """Return the last lines of a log that report an error, after byte `since`."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(since, size - SEARCHED_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if " ERROR " in line or " CRITICAL " in line]
        return tuple(errors[-at_most:])
    return ()


def _log_file(name: str, state_dir: Path) -> Path:
    files = local_servers.server_files(state_dir)
    state = files.read(name)
    log = Path(state["log"]) if state else files.path(name, ".log")
    if not log.is_file():
        raise NotFoundError(
            f"there is no log of a server named {name!r}", "list the servers: mlctl server-status --all"
        )
    return log
