"""Give orders to a running endpoint, and read what it tells of itself."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

from mlctl.adapters.system.daemon import DaemonProcess
from mlctl.domain.endpoint_detail import (
    EndpointDetail,
    EndpointWorker,
    RefusedVersion,
    Rollout,
    VersionTraffic,
)
from mlctl.errors import RefusedError, UnreachableError
from mlctl.services.serving.endpoints import endpoint_of, endpoint_states, require_state
from mlctl.settings import Settings

TIMEOUT_S = 15.0


def send_order(settings: Settings, name: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the endpoint's answer to an order.

    Raises NotFoundError if there is no such endpoint, UnreachableError if it does not answer, and RefusedError with
    its reason if it does not do what it was asked for.
    """
    state = require_state(endpoint_states(settings), name)
    if not DaemonProcess.from_state(state).is_alive():
        raise UnreachableError(f"the endpoint {name!r} has ended", f"its log: {state['log'] or 'none'}")
    if not state.get("control"):
        raise RefusedError(
            f"the endpoint {name!r} was started by an earlier version of mlctl, which takes no orders",
            "stop it and start it again",
        )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(state["control"])
            connection.sendall(json.dumps(order).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
        answer: dict[str, Any] = json.loads(line)
    except (OSError, ValueError) as exc:
        raise UnreachableError(
            f"the endpoint {name!r} does not answer: {exc}", f"see mlctl endpoints logs {name}"
        ) from exc
    if "error" in answer:
        raise RefusedError(answer["error"], f"mlctl endpoints show {name} shows its state")
    return answer


def show_endpoint(settings: Settings, name: str) -> EndpointDetail:
    """Return an endpoint with its versions, workers and rollout. Raises NotFoundError."""
    state = require_state(endpoint_states(settings), name)
    endpoint = endpoint_of(state)
    try:
        answer = send_order(settings, name, {"order": "show"})
    except (RefusedError, UnreachableError) as error:
        return EndpointDetail(endpoint=endpoint, note=error.message)
    return EndpointDetail(
        endpoint=endpoint,
        traffic=tuple(VersionTraffic(**version) for version in answer["versions"]),
        workers=tuple(EndpointWorker(**worker) for worker in answer["workers"]),
        rollout=to_rollout(name, answer["rollout"]) if answer.get("rollout") else None,
        refused=tuple(RefusedVersion(**refused) for refused in answer.get("refused", ())),
        shadow=answer.get("shadow", ""),
    )


def to_rollout(endpoint: str, state: Mapping[str, Any]) -> Rollout:
    """Return the rollout that an endpoint tells of."""
    plan = state["plan"]
    return Rollout(
        endpoint=endpoint,
        id=state["id"],
        status=state["status"],
        model=state["model"],
        version=state["version"],
        old_version=state["old_version"],
        steps=plan["steps"],
        every=plan["every"],
        guards=tuple(plan["guards"]),
        step=state["step"],
        share=state["share"],
        reached=state["last_share"],
        step_ends_in_s=state.get("step_ends_in_s"),
        requests=round(state["requests"]),
        waiting_for=round(state["waiting_for"]),
        started=state["started"],
        ended=state["ended"],
        reason=state["reason"],
        breach=state["breach"],
        recorded=state["recorded"],
    )
