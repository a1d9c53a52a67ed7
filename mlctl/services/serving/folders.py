"""The folders of endpoints in the state directory."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mlctl.adapters.system.state_files import StateFiles
from mlctl.errors import RefusedError
from mlctl.services.serving.endpoints import is_running
from mlctl.serving.endpoint_folder import EndpointFolder


def endpoint_folder(states: StateFiles, name: str) -> EndpointFolder:
    """Return the folder of an endpoint."""
    return EndpointFolder(states.path(name, ""))


def claim_folder(states: StateFiles, name: str) -> EndpointFolder:
    """Return the folder of a new endpoint without what an earlier one left, which may have been killed.

    What other endpoints left that were killed is removed, too. Raises RefusedError if another process is starting an
    endpoint of this name, or if the folder cannot be written.
    """
    folder = endpoint_folder(states, name)
    if folder.has_living_owner():
        raise RefusedError(
            f"another process is starting the endpoint {name!r}", "wait for it, or choose another --name"
        )
    try:
        folder.prepare()
        _clear_abandoned(states, folder.path)
    except OSError as exc:
        raise RefusedError(
            f"cannot write {folder.path}: {exc.strerror}", "set MLCTL_STATE_DIR to a writable folder"
        ) from exc
    return folder


def _clear_abandoned(states: StateFiles, own: Path) -> None:
    for path in states.folder.iterdir():
        if path == own or not path.is_dir():
            continue
        other = EndpointFolder(path)
        with contextlib.suppress(OSError):
            if not other.has_living_owner() and not is_running(states, path.name):
                other.remove()
