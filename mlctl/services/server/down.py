"""Stopping a server."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from mlctl.adapters.system import daemon
from mlctl.domain.server import StoppedServer
from mlctl.services.server import server_state

OTHERS_WITHIN_S = 120.0  # a server that is being started takes no longer


def down(name: str, grace_s: float, state_dir: Path) -> StoppedServer:
    """Stop the server that was started under this name, and no other process.

    Requests in flight have `grace_s` seconds to end; nobody starts one of this name meanwhile. Raises
    NotFoundError where none was started here.
    """
    book = server_state.notes(state_dir)
    server_state.required(book, name)
    with book.alone(name, OTHERS_WITHIN_S):
        note = server_state.required(book, name)
        with contextlib.suppress(OSError):  # a full disk must not keep it up
            book.write(name, {**note, "grace_s": grace_s})
        found = server_state.process_of(note)
        how = daemon.stop(found, grace_s)
        book.forget(name)
        book.path(name, ".auth.ini").unlink(missing_ok=True)
        shutil.rmtree(book.path(name, ".metrics"), ignore_errors=True)
    return StoppedServer(name, how, found.pid)
