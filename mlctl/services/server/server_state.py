"""The servers of this machine: what their state files say, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlctl import credentials
from mlctl.adapters.system.http import HttpClient
from mlctl.adapters.system.state_files import StateFiles
from mlctl.domain.server import TrackingServer
from mlctl.errors import NotFoundError

TIMEOUT_S = 4.0


def read_state(files: StateFiles, name: str) -> dict[str, Any]:
    """Return the state of a server; raises NotFoundError if none of this name was started here."""
    state = files.read(name)
    if state is None:
        names = files.names()
        hint = f"servers of this machine: {', '.join(names)}" if names else "start one: mlctl server-up"
        raise NotFoundError(f"no server named {name!r} was started on this machine", hint)
    return state


def read_readiness(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what /ready answers; None if nothing answers, or another instance does."""
    readiness = HttpClient(state["local_url"], timeout_s=TIMEOUT_S, is_local=True).get_json("/ready")
    return readiness if readiness and readiness.get("instance") == state["instance"] else None


def read_row_counts(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the number of runs, experiments and models; None if the server does not tell.

    The request sends the user's password. Call this only after `read_readiness` has shown that this server, and no
    other program, answers.
    """
    user = credentials.find(state["url"])
    client = HttpClient(state["local_url"], timeout_s=TIMEOUT_S, is_local=True, user=user)
    counts = client.get_json("/mlctl/status")
    return counts if counts and "runs" in counts else None


def to_tracking_server(state: Mapping[str, Any], status: str, **details: Any) -> TrackingServer:
    """Return the server that a state file describes."""
    return TrackingServer(
        name=state["name"],
        url=state["url"],
        pid=state["pid"],
        log=state["log"],
        status=status,
        backend=state["place"]["backend"],
        bucket=state["place"]["bucket"],
        artifacts=state["artifacts"],
        workers=state["workers"],
        auth=state["auth"],
        **details,
    )
