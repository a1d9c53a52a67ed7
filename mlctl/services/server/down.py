"""Stop a server."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from mlctl.adapters.system import daemon, local_servers
from mlctl.domain.server import StoppedServer
from mlctl.services.server.server_state import read_state

LOCK_TIMEOUT_S = 120.0  # a start of the same server takes no longer


def stop_server(name: str, grace_s: float, state_dir: Path) -> StoppedServer:
    """Stop the server that was started under this name, and no other process.

    Requests in flight have `grace_s` seconds to finish. No other command can start a server of this name meanwhile.
    Raises NotFoundError if none was started here.
    """
    files = local_servers.server_files(state_dir)
    read_state(files, name)
    with files.lock(name, LOCK_TIMEOUT_S):
        state = read_state(files, name)
        with contextlib.suppress(OSError):  # a full disk must not prevent the stop
            files.write(name, {**state, "grace_s": grace_s})
        process = local_servers.server_process(state)
        how = daemon.stop(process, grace_s)
        files.delete(name)
        files.path(name, ".auth.ini").unlink(missing_ok=True)
        shutil.rmtree(files.path(name, ".metrics"), ignore_errors=True)
    return StoppedServer(name, how, process.pid)
