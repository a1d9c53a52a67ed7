"""Roll a version of a model out on a running endpoint, and watch how it goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.endpoint_detail import Rollout
from mlctl.domain.rollout import parse_guards, parse_steps
from mlctl.errors import ChildFailedError, NotFoundError, RefusedError, UnreachableError, UsageError
from mlctl.services.models.fetch import fetch_model
from mlctl.services.serving.endpoint_control import send_order, to_rollout
from mlctl.services.serving.endpoints import endpoint_states, require_state
from mlctl.settings import Settings
from mlctl.units import parse_duration

REGISTRY_COMMAND = (sys.executable, "-m", "mlctl.services.workflows.rollout_registry")
POLL_INTERVAL_S = 0.5
RECORD_S = 10.0  # how long to wait for the entry in the history
UNREACHABLE_S = 10.0  # how long an endpoint may not answer while it is watched


@dataclass(frozen=True, kw_only=True)
class RolloutRequest:
    """The options of a rollout.

    Attributes:
        to: Number or alias of the version.
        steps: Shares of the requests, such as 5%,25%,100%.
        every: Duration of a step, such as 10m.
        guards: Conditions, such as p95<=1.2x.
        sticky: Header that decides which version a client gets, or "".
        promote: Promote the version to Production at the end.
    """

    to: str
    steps: str = "5%,25%,100%"
    every: str = "10m"
    guards: tuple[str, ...] = ()
    sticky: str = ""
    promote: bool = False


def start_rollout(settings: Settings, endpoint: str, request: RolloutRequest) -> Rollout:
    """Start a rollout in an endpoint, and return it.

    Raises:
        UsageError: A step, a guard or the duration is invalid.
        NotFoundError: There is no such endpoint or version.
        RefusedError: The endpoint refuses the version, or another rollout is running.
    """
    guards = parse_guards(request.guards)
    parse_steps(request.steps)
    if parse_duration(request.every) <= 0:
        raise UsageError(f"invalid value {request.every!r} for --every", "example: --every 10m")
    state = require_state(endpoint_states(settings), endpoint)
    if not state["version"]:
        raise RefusedError(
            f"the endpoint {endpoint!r} serves a model outside the registry, which has no other version",
            "register the model, and serve it by its name",
        )
    answer = send_order(settings, endpoint, {"order": "folder"})
    separator = "/" if request.to.isdecimal() else "@"
    serving = fetch_model(
        TrackingStore(settings.tracking_uri),
        f"{state['model']}{separator}{request.to.removeprefix('@')}",
        Path(answer["folder"]),
    )
    plan = {
        "steps": request.steps,
        "every": request.every,
        "guards": [guard.text for guard in guards],
        "sticky": request.sticky,
        "promote": request.promote,
        "tracking_uri": settings.tracking_uri,
        "registry_command": REGISTRY_COMMAND,
    }
    order = {"order": "rollout", "serving": asdict(serving), "plan": plan}
    return to_rollout(endpoint, send_order(settings, endpoint, order)["rollout"])


def abort_rollout(settings: Settings, endpoint: str) -> Rollout:
    """Return an endpoint to the version before its rollout. Raises RefusedError if none is running."""
    answer = send_order(settings, endpoint, {"order": "abort", "reason": "it was aborted by hand"})
    return to_rollout(endpoint, answer["rollout"])


def watch_rollout(settings: Settings, rollout: Rollout) -> Iterator[Rollout]:
    """Yield the state of a rollout twice a second, until it has ended and the registry's history says so.

    Raises UnreachableError if the endpoint ends meanwhile.
    """
    answered = time.monotonic()
    while True:
        try:
            answer = send_order(settings, rollout.endpoint, {"order": "show"})
        except (UnreachableError, NotFoundError):
            if time.monotonic() - answered > UNREACHABLE_S or not _exists(settings, rollout.endpoint):
                raise
        else:
            answered = time.monotonic()
            state: Mapping[str, Any] | None = answer.get("rollout")
            if state is None or state["id"] != rollout.id:
                raise RefusedError(
                    f"another rollout has begun on {rollout.endpoint}",
                    f"mlctl endpoints show {rollout.endpoint} shows it",
                )
            current = to_rollout(rollout.endpoint, state)
            yield current
            if current.is_over and (current.recorded or time.time() > (current.ended or 0) + RECORD_S):
                return
        time.sleep(POLL_INTERVAL_S)


def require_done(rollout: Rollout) -> None:
    """Raise an error if a rollout ended without serving the new version."""
    if rollout.status == "done" or not rollout.is_over:
        return
    kind = ChildFailedError if rollout.status == "failed" else RefusedError
    raise kind(
        f"version {rollout.version} is not served: {rollout.reason}",
        f"version {rollout.old_version} answers all requests; mlctl endpoints logs {rollout.endpoint} has more",
    )


def _exists(settings: Settings, endpoint: str) -> bool:
    return endpoint_states(settings).read(endpoint) is not None
