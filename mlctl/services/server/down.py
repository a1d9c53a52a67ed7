"""Stopping a server."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlctl.adapters import process
from mlctl.domain.server import StoppedServer
from mlctl.services.server import noted


def down(name: str, grace_s: float, state_dir: Path) -> StoppedServer:
    """Stop the server that was started under this name, and no other process.

    Requests in flight have `grace_s` seconds to end. Raises NotFoundError where none was started here.
    """
    book = noted.notes(state_dir)
    note = noted.required(book, name)
    found = noted.process_of(note)
    how = process.stop(found, grace_s)
    book.forget(name)
    book.path(name, ".auth.ini").unlink(missing_ok=True)
    shutil.rmtree(book.path(name, ".metrics"), ignore_errors=True)
    return StoppedServer(name, how, found.pid)
