"""The tracking servers that were started on this machine: their notes, their processes, their databases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlctl.adapters.system.daemon import DaemonProcess
from mlctl.adapters.system.state_files import StateFiles


def notes(state_dir: Path) -> StateFiles:
    """Return where servers are noted."""
    return StateFiles(state_dir / "servers")


def process_of(note: Mapping[str, Any]) -> DaemonProcess:
    """Return the noted process."""
    return DaemonProcess.noted(note)


def live_on(state_dir: Path, uri: str) -> list[dict[str, Any]]:
    """Return the notes of the servers that run here on the database of this URI."""
    book, wanted = notes(state_dir), _database(uri)
    found = [note for name in book.names() if (note := book.read(name))]
    return [one for one in found if _database(one["place"]["backend"]) == wanted and process_of(one).alive()]


def _database(uri: str) -> str:
    """Return what tells a database from others: a file, or host, port and name, whoever the user is."""
    parts = urlsplit(uri)
    if parts.scheme.startswith("sqlite"):
        return str(Path(uri.partition(":///")[2].partition("?")[0]).expanduser().resolve())
    return parts.netloc.rpartition("@")[2].removesuffix(":5432") + parts.path
