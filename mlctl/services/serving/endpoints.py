"""The endpoints of this machine: which there are, what they log, and ending them."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlctl.adapters.system import daemon, log_tail
from mlctl.adapters.system.daemon import DaemonProcess
from mlctl.adapters.system.state_files import StateFiles
from mlctl.domain.serving import Endpoint, EndpointList, StoppedEndpoint
from mlctl.errors import NotFoundError, did_you_mean
from mlctl.settings import Settings

ANSWER_WITHIN_S = 2.0
DRAIN_WITHIN_S = 40.0


def notes(settings: Settings) -> StateFiles:
    """Return where endpoints are noted."""
    return StateFiles(settings.state_dir / "endpoints")


def listed(settings: Settings) -> EndpointList:
    """Return every endpoint that runs; one whose process is gone is shown once, and forgotten."""
    book = notes(settings)
    found = []
    for name in book.names():
        if (note := book.read(name)) is None:
            continue
        alive = process_of(note).alive()
        found.append(described(note, ("ready" if answers(note) else "not ready") if alive else "gone"))
        if not alive:
            book.forget(name)
    return EndpointList(tuple(found))


def stop(settings: Settings, name: str) -> StoppedEndpoint:
    """End an endpoint: its requests are answered first. Raises NotFoundError."""
    book = notes(settings)
    note = _required(book, name)
    how = daemon.stop(process_of(note), DRAIN_WITHIN_S)
    book.forget(name)
    return StoppedEndpoint(name, how)


def tail(settings: Settings, name: str, lines: int) -> list[str]:
    """Return the last lines of an endpoint's log; raises NotFoundError."""
    return log_tail.last_lines(_log(settings, name), lines)


def follow(settings: Settings, name: str) -> Iterator[str]:
    """Yield what an endpoint adds to its log, until it is gone."""
    book = notes(settings)

    def alive() -> bool:
        note = book.read(name)
        return note is not None and process_of(note).alive()

    return log_tail.added(_log(settings, name), alive)


def process_of(note: Mapping[str, Any]) -> DaemonProcess:
    """Return the noted process."""
    return DaemonProcess.noted(note)


def described(note: Mapping[str, Any], status: str) -> Endpoint:
    """Return a noted endpoint as a value."""
    fields = {name: note[name] for name in ("name", "url", "pid", "log", "model_uri", "model", "version")}
    return Endpoint(status=status, **fields)


def answers(note: Mapping[str, Any]) -> bool:
    """Whether an endpoint of this machine answers its health check."""
    context = ssl.create_default_context()
    context.check_hostname = False  # this machine is asked, by its address
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(note["url"] + "/health", timeout=ANSWER_WITHIN_S) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _required(book: StateFiles, name: str) -> dict[str, Any]:
    note = book.read(name)
    if note is None:
        known = book.names()
        hint = did_you_mean(name, known) or f"there are: {', '.join(known) or 'none'}"
        raise NotFoundError(f"there is no endpoint {name!r} on this machine", hint)
    return note


def _log(settings: Settings, name: str) -> Path:
    book = notes(settings)
    note = book.read(name)
    log = Path(note["log"]) if note and note["log"] else book.path(name, ".log")
    if not log.is_file():
        _required(book, name)
        raise NotFoundError(
            f"{name} writes no log: it runs in the foreground", "look at the terminal it was started in"
        )
    return log
