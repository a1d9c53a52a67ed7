"""What a running endpoint tells of itself: its versions, workers, rollout and shadow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.serving import Endpoint


@dataclass(frozen=True, kw_only=True)
class VersionTraffic:
    """Requests to one version since the endpoint was started; times in milliseconds.

    Attributes:
        role: "serving", "candidate" in a rollout, or "shadow".
        refused: Requests whose client was wrong.
        agreement: Share of compared rows that agree with the serving version's; None if nothing was compared.
        dropped: Copies that the version was too busy to take.
    """

    role: str
    version: str
    requests: int
    refused: int
    errors: int
    in_flight: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    compared: int = 0
    agreement: float | None = None
    dropped: int = 0


@dataclass(frozen=True, kw_only=True)
class EndpointWorker:
    """A worker process and the memory that it occupies."""

    pid: int
    role: str
    version: str
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A rollout of an endpoint.

    Attributes:
        status: starting, running, promoting, done, returned, aborted or failed.
        step: Number of the step, from 1.
        share: Share of the requests that the new version gets.
        reached: The largest share that it got.
        step_ends_in_s: Seconds until the step may end; None if no step is running.
        requests: Requests that the new version has got.
        waiting_for: Requests that it must still get before the step can end.
        reason: Why the rollout ended.
        breach: The breached guard: `check`, `wanted` and `found`.
        recorded: The registry's history has an entry of the rollout's end.
    """

    endpoint: str
    id: str
    status: str
    model: str
    version: str
    old_version: str
    steps: str
    every: str
    guards: tuple[str, ...]
    step: int
    share: float
    reached: float = 0.0
    step_ends_in_s: float | None = None
    requests: int = 0
    waiting_for: int = 0
    started: float = 0.0
    ended: float | None = None
    reason: str = ""
    breach: dict[str, Any] | None = None
    recorded: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.ended is not None


@dataclass(frozen=True, kw_only=True)
class RefusedVersion:
    """A version that the endpoint does not serve, and the reason."""

    version: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class EndpointDetail:
    """An endpoint with everything that it tells; `note` says why parts are missing."""

    endpoint: Endpoint
    traffic: tuple[VersionTraffic, ...] = ()
    workers: tuple[EndpointWorker, ...] = ()
    rollout: Rollout | None = None
    refused: tuple[RefusedVersion, ...] = ()
    shadow: str = ""
    note: str = field(default="")
