"""The endpoints of this machine: list them, read their logs, and stop them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlctl.adapters.system import daemon, log_tail
from mlctl.adapters.system.daemon import DaemonProcess
from mlctl.adapters.system.http import HttpClient, HttpError
from mlctl.adapters.system.state_files import StateFiles
from mlctl.domain.serving import Endpoint, EndpointList, StoppedEndpoint
from mlctl.errors import NotFoundError, did_you_mean
from mlctl.settings import Settings

HEALTH_TIMEOUT_S = 2.0
DEFAULT_TIMEOUT_S = 30.0  # of an endpoint of an earlier version of mlctl
STOP_MARGIN_S = 15.0  # beyond the time that one request may take
GONE = "gone"
STATE_FIELDS = ("name", "url", "pid", "log", "model_uri", "model", "version")


def endpoint_states(settings: Settings) -> StateFiles:
    """Return the state files of endpoints."""
    return StateFiles(settings.state_dir / "endpoints")


def list_endpoints(settings: Settings) -> EndpointList:
    """Return every endpoint. One whose process has ended is listed once more, and then forgotten."""
    states = endpoint_states(settings)
    endpoints = []
    for name in states.names():
        if (state := states.read(name)) is None:
            continue
        endpoint = endpoint_of(state)
        if endpoint.status == GONE:
            states.delete(name)
        endpoints.append(endpoint)
    return EndpointList(tuple(endpoints))


def endpoint_of(state: Mapping[str, Any]) -> Endpoint:
    """Return the endpoint that a state file describes, after a health check."""
    status = GONE
    if DaemonProcess.from_state(state).is_alive():
        status = "ready" if _is_healthy(state["url"]) else "not ready"
    fields = {field: state[field] for field in STATE_FIELDS}
    return Endpoint(status=status, refused=state.get("refused"), **fields)


def stop_endpoint(settings: Settings, name: str) -> StoppedEndpoint:
    """Stop an endpoint after it has answered its open requests. Raises NotFoundError."""
    states = endpoint_states(settings)
    state = require_state(states, name)
    how = daemon.stop(
        DaemonProcess.from_state(state), state.get("timeout_s", DEFAULT_TIMEOUT_S) + STOP_MARGIN_S
    )
    states.delete(name)
    return StoppedEndpoint(name, how)


def last_log_lines(settings: Settings, name: str, count: int) -> list[str]:
    """Return the last lines of an endpoint's log. Raises NotFoundError."""
    return log_tail.last_lines(_log_file(settings, name), count)


def follow_log(settings: Settings, name: str) -> Iterator[str]:
    """Yield the lines that an endpoint adds to its log, until it ends."""
    return log_tail.follow(_log_file(settings, name), lambda: is_running(endpoint_states(settings), name))


def is_running(states: StateFiles, name: str) -> bool:
    """Return whether an endpoint of this name runs."""
    state = states.read(name)
    return state is not None and DaemonProcess.from_state(state).is_alive()


def _is_healthy(url: str) -> bool:
    with contextlib.suppress(HttpError):
        client = HttpClient(url, timeout_s=HEALTH_TIMEOUT_S, is_local=True)
        status = client.request("GET", "/ready").status_code
        if status in (401, 404):  # an endpoint of an earlier version of mlctl
            status = client.request("GET", "/health").status_code
        return status == 200
    return False


def require_state(states: StateFiles, name: str) -> Mapping[str, Any]:
    """Return the state of an endpoint. Raises NotFoundError, which names those that exist."""
    state = states.read(name)
    if state is None:
        names = states.names()
        hint = did_you_mean(name, names) or (
            f"endpoints: {', '.join(names)}" if names else "start one: mlctl serve MODEL --detach"
        )
        raise NotFoundError(f"there is no endpoint {name!r} on this machine", hint)
    return state


def _log_file(settings: Settings, name: str) -> Path:
    states = endpoint_states(settings)
    state = states.read(name)
    log = Path(state["log"]) if state and state["log"] else states.path(name, ".log")
    if not log.is_file():
        require_state(states, name)
        raise NotFoundError(
            f"{name} has no log file, because it runs in the foreground",
            "see the terminal in which it was started",
        )
    return log
