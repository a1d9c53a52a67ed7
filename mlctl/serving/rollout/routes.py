"""Which share of the requests other versions get: a small file that the supervisor writes and all workers read."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mlctl.files import write_atomically

FILE = "routes.json"
READ_INTERVAL_S = 0.05  # the longest time that a worker sends requests to a version that was withdrawn


@dataclass(frozen=True, kw_only=True)
class VersionRoute:
    """The way to the workers of a version.

    Attributes:
        name: Name of the model.
        version: Its version.
        socket: Unix socket on which its workers listen.
        share: Share of the requests that it answers, or of which it gets copies.
        copies: Share of the other requests of which it gets copies, whose answers are compared.
        sticky: Header whose value decides which version answers; "" for none.
        wait_s: How long a request may wait for it.
        salt: Makes the choice by header differ from rollout to rollout.
    """

    name: str
    version: str
    socket: str
    share: float = 0.0
    copies: float = 0.0
    sticky: str = ""
    wait_s: float = 15.0
    salt: str = ""


@dataclass(frozen=True)
class Routes:
    """The routes of an endpoint to a version that is rolled out, and to a shadow."""

    candidate: VersionRoute | None = None
    shadow: VersionRoute | None = None


def write_routes(folder: Path, routes: Routes) -> None:
    """Replace the routes of an endpoint. Raises OSError if there is a candidate and the file cannot be written."""
    file = folder / FILE
    if routes == Routes():
        file.unlink(missing_ok=True)
        return
    try:
        write_atomically(file, json.dumps(asdict(routes)).encode(), durable=False)
    except OSError:  # a full disk must not keep a version that was withdrawn
        file.unlink(missing_ok=True)
        if routes.candidate is not None:
            raise


class RoutesReader:
    """Reads the routes again when their file has changed."""

    def __init__(self, folder: Path) -> None:
        self._file = str(folder / FILE)
        self._checked = -1.0
        self._seen: tuple[int, int, int] | None = None
        self._routes = Routes()

    def read(self) -> Routes:
        """Return the routes as they were at most READ_INTERVAL_S ago."""
        now = time.monotonic()
        if now - self._checked < READ_INTERVAL_S:
            return self._routes
        self._checked = now
        try:
            status = os.stat(self._file)
        except OSError:
            self._seen, self._routes = None, Routes()
            return self._routes
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            with contextlib.suppress(OSError, ValueError, TypeError):
                self._routes = _read(self._file)
                self._seen = seen
        return self._routes


def _read(file: str) -> Routes:
    document = json.loads(Path(file).read_bytes())
    return Routes(**{name: VersionRoute(**fields) for name, fields in document.items() if fields})
