"""Runs the rollout of an endpoint in its supervisor: steps, guards, and the return to the old version."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from mlctl.domain.rollout import CHECK_INTERVAL_S, MIN_REQUESTS, Breach, GuardMonitor, RolloutPlan
from mlctl.domain.version_counts import VersionCounts
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.rollout.routes import Routes, VersionRoute, write_routes
from mlctl.serving.rollout.version_stats import CANDIDATE, SERVING, read_counts
from mlctl.serving.supervision.worker_pool import WorkerPool
from mlctl.units import parse_duration

STARTING, RUNNING, PROMOTING, DONE, RETURNED, ABORTED, FAILED = (
    "starting", "running", "promoting", "done", "returned", "aborted", "failed",
)  # fmt: skip
ENDED = frozenset({DONE, RETURNED, ABORTED, FAILED})
MAX_WAIT_CHANGE = 1.5
STOP_TIMEOUT_S = 5.0
LEAST_COPIES = 0.1  # share of the old version's requests that an agreement guard compares, at least


class RolloutError(Exception):
    """The endpoint cannot do what it was asked for; the text is the reason."""


class Host(Protocol):
    """What a rollout needs of the supervisor."""

    @property
    def serving(self) -> ServedVersion:
        """The version that the endpoint serves."""

    @property
    def timeout_s(self) -> float:
        """Seconds that the model has to answer a request."""

    @property
    def folder(self) -> Path:
        """Folder of the endpoint's files."""

    def create_pool(self, serving: ServedVersion, role: str) -> WorkerPool:
        """Return workers of another version at a Unix socket; none is started yet."""

    async def take_over(self, pool: WorkerPool) -> None:
        """Let these workers take the endpoint's address in place of those that serve."""

    def clean_up(self) -> None:
        """Remove the copies of versions that are not needed any more."""

    def log(self, text: str) -> None:
        """Write a line to the endpoint's log."""


@dataclass(kw_only=True)
class RolloutState:
    """How far a rollout is.

    Attributes:
        status: One of the constants of this module.
        version: The version that is rolled out.
        old_version: The version that was served before.
        model: Name of the registered model.
        step: Number of the step, from 1.
        share: Share of the requests that the new version gets.
        last_share: The largest share that it got.
        started: When the rollout was started, in seconds since 1970.
        step_started: When the step was started.
        reason: Why it ended.
        breach: The guard that was breached: its metric, limit and value.
        recorded: The registry's history has an entry of its end.
        plan: Steps, guards and options, as they were given.
    """

    id: str
    status: str
    model: str
    version: str
    old_version: str
    plan: dict[str, Any]
    step: int = 0
    share: float = 0.0
    last_share: float = 0.0
    started: float = 0.0
    step_started: float = 0.0
    ended: float | None = None
    reason: str = ""
    breach: dict[str, Any] | None = None
    recorded: bool = False
    requests: float = 0.0
    waiting_for: float = 0.0  # requests that the new version must get before the step can end


class RolloutController:
    """The rollouts of one endpoint, one at a time.

    Attributes:
        state: The last rollout; None if there was none.
        on_change: Called after each change of the state, so that it can be kept and recorded.
        promote: Promotes the new version; returns why that is refused, or "".
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.state: RolloutState | None = None
        self.on_change: Callable[[RolloutState], None] = lambda state: None
        self.promote: Callable[[RolloutState], Awaitable[str]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._abort_reason = ""
        self._death = ""
        self._leaving: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._start_counts = (VersionCounts(), VersionCounts())
        self._candidate: VersionRoute | None = None
        self._shadow: VersionRoute | None = None

    @property
    def is_running(self) -> bool:
        """Whether a rollout has not ended yet."""
        return self._task is not None and self.state is not None and self.state.status not in ENDED

    def require_idle(self) -> None:
        """Raise RolloutError if a rollout is running."""
        if self.is_running:
            assert self.state is not None
            raise RolloutError(f"version {self.state.version} is being rolled out already")

    def start(self, serving: ServedVersion, plan: RolloutPlan, texts: dict[str, Any]) -> RolloutState:
        """Start a rollout; `texts` describes the plan for people. Raises RolloutError if another one is running."""
        self.require_idle()
        if serving.version == self._host.serving.version:
            raise RolloutError(f"version {serving.version} is served already")
        self.state = RolloutState(
            id=secrets.token_hex(4),
            status=STARTING,
            model=serving.name,
            version=serving.version,
            old_version=self._host.serving.version,
            plan=texts,
            started=time.time(),
        )
        self._abort_reason = self._death = ""
        self._wake.clear()
        self._task = asyncio.get_running_loop().create_task(self._run(serving, plan, self.state))
        self.on_change(self.state)
        return self.state

    async def give_way(self, version: str) -> None:
        """End the rollout because another version than the old one will be served; a promotion goes on first."""
        while self.is_running and self.state and self.state.status == PROMOTING:
            await asyncio.sleep(CHECK_INTERVAL_S)
        if self.is_running:
            await self.abort(f"version {version} was promoted meanwhile")

    async def abort(self, reason: str) -> RolloutState:
        """Return to the old version; wait until all requests go to it. Raises RolloutError if no rollout is running."""
        if not self.is_running:
            raise RolloutError("no version is being rolled out")
        assert self.state is not None
        if self.state.status == PROMOTING:
            raise RolloutError(f"version {self.state.version} is being promoted, and is served after that")
        self._abort_reason = reason
        self._wake.set()
        while self.state.status not in ENDED:
            await asyncio.sleep(0.02)
        return self.state

    async def stop(self) -> None:
        """End everything, because the endpoint ends."""
        if self._task is not None and not self._task.done():
            self._abort_reason = "the endpoint was stopped"
            self._wake.set()
            await asyncio.wait({self._task}, timeout=STOP_TIMEOUT_S)
            self._task.cancel()  # a promotion may take long
            await asyncio.gather(self._task, return_exceptions=True)
        for task in self._leaving:
            task.cancel()  # the supervisor ends their workers

    def set_shadow(self, route: VersionRoute | None) -> None:
        """Set the route to the shadow, which is independent of rollouts."""
        self._shadow = route
        self._write_routes(self._candidate)

    async def _run(self, serving: ServedVersion, plan: RolloutPlan, state: RolloutState) -> None:
        pool = self._host.create_pool(serving, CANDIDATE)
        pool.on_death = self._note_death
        monitor = GuardMonitor(plan)
        start = self._start_counts = self._counts(state)
        try:
            await self._start(pool)
            for step, share in enumerate(plan.steps, start=1):
                if self._abort_reason:
                    break
                stable = self._counts(state)[0]
                monitor.start_step(stable - start[0])
                wait_s = monitor.wait_s(stable, self._host.timeout_s)
                self._begin_step(state, plan, pool, step=step, share=share, wait_s=wait_s)
                if not await self._watch_step(state, plan, monitor, start):
                    break
            if self._abort_reason:
                self._end(state, ABORTED, self._abort_reason)
            elif state.status == RUNNING:
                await self._finish(state, pool)
        except Exception as exc:
            self._end(state, FAILED, f"version {state.version} cannot be served: {exc}")
        finally:
            if state.status not in ENDED:
                self._end(state, FAILED, "the endpoint ended")
            if state.status != DONE:
                leaving = asyncio.get_running_loop().create_task(self._dismiss(pool))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)

    async def _dismiss(self, pool: WorkerPool) -> None:
        """Let workers end that are not needed any more; a hung one takes as long as a request may."""
        pool.stop()
        await pool.wait()
        self._host.clean_up()

    async def _start(self, pool: WorkerPool) -> None:
        """Start the workers of the new version, unless the rollout is aborted meanwhile."""
        starting = asyncio.create_task(pool.start())
        waking = asyncio.create_task(self._wake.wait())
        await asyncio.wait({starting, waking}, return_when=asyncio.FIRST_COMPLETED)
        waking.cancel()
        if starting.done():
            starting.result()
            return
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await starting

    def _note_death(self, reason: str) -> None:
        """Return to the old version because a worker of the new one has ended."""
        self._death = reason
        self._wake.set()

    def _begin_step(
        self,
        state: RolloutState,
        plan: RolloutPlan,
        pool: WorkerPool,
        *,
        step: int,
        share: float,
        wait_s: float,
    ) -> None:
        assert pool.address is not None
        has_agreement = any(guard.metric == "agreement" for guard in plan.guards)
        self._write_routes(
            VersionRoute(
                name=state.model,
                version=state.version,
                socket=pool.address.path,
                share=share,
                copies=max(share, LEAST_COPIES) if has_agreement and share < 1 else 0.0,
                sticky=plan.sticky.lower(),
                wait_s=wait_s,
                salt=state.id,
            )
        )
        state.status, state.step, state.step_started = RUNNING, step, time.time()
        state.share = state.last_share = share
        self._host.log(f"rollout of version {state.version}: {100 * share:g}% of the requests")
        self.on_change(state)

    async def _watch_step(
        self,
        state: RolloutState,
        plan: RolloutPlan,
        monitor: GuardMonitor,
        start: tuple[VersionCounts, VersionCounts],
    ) -> bool:
        """Check the guards until the step ends; return whether the next one may begin."""
        began = time.monotonic()
        requests_before = self._counts(state)[1].requests
        while not self._abort_reason:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._wake.wait()
            if self._abort_reason:
                return False
            if self._death:
                self._end(state, RETURNED, f"{self._death} while version {state.version} was tried")
                return False
            stable, candidate = self._counts(state)
            state.requests = candidate.requests - start[1].requests
            breach = monitor.check(time.monotonic(), stable - start[0], candidate - start[1])
            if breach is not None:
                self._end(state, RETURNED, breach.reason, breach)
                return False
            self._set_wait(monitor.wait_s(stable, self._host.timeout_s))
            state.waiting_for = max(0.0, MIN_REQUESTS - (candidate.requests - requests_before))
            if time.monotonic() - began >= plan.every_s and not state.waiting_for:
                return True
        return False

    def _set_wait(self, wait_s: float) -> None:
        """Tell the workers how long a request may wait for the new version, if that has changed much."""
        route = self._candidate
        if route is not None and not 1 / MAX_WAIT_CHANGE < wait_s / route.wait_s < MAX_WAIT_CHANGE:
            self._write_routes(replace(route, wait_s=wait_s))

    async def _finish(self, state: RolloutState, pool: WorkerPool) -> None:
        """Promote the new version if the plan says so, and serve it."""
        if state.plan.get("promote") and self.promote is not None:
            state.status = PROMOTING
            self.on_change(state)
            if refusal := await self.promote(state):
                self._end(state, RETURNED, f"it was not promoted: {refusal}")
                return
        if self._abort_reason or self._death:
            status = ABORTED if self._abort_reason else RETURNED
            self._end(state, status, self._abort_reason or self._death)
            return
        pool.on_death = lambda reason: None
        await self._host.take_over(pool)
        self._end(state, DONE, f"version {state.version} answers all requests")

    def _end(self, state: RolloutState, status: str, reason: str, breach: Breach | None = None) -> None:
        """End the rollout. Requests go to the old version from now on, unless the new one is served."""
        self._write_routes(None)
        state.status, state.reason, state.ended = status, reason, time.time()
        state.share = 1.0 if status == DONE else 0.0
        state.requests = self._counts(state)[1].requests - self._start_counts[1].requests
        if breach is not None:
            guard = breach.guard
            state.breach = {"check": guard.metric, "wanted": guard.wanted, "found": breach.found}
        end = "done" if status == DONE else f"version {state.old_version} answers all requests again"
        self._host.log(f"rollout of version {state.version} ended: {end}; {reason}")
        self.on_change(state)

    def _counts(self, state: RolloutState) -> tuple[VersionCounts, VersionCounts]:
        """Return the counts of the old version and of the new one."""
        counts = read_counts(self._host.folder)
        return (
            counts.get((SERVING, state.old_version), VersionCounts()),
            counts.get((CANDIDATE, state.version), VersionCounts()),
        )

    def _write_routes(self, candidate: VersionRoute | None) -> None:
        self._candidate = candidate
        write_routes(self._host.folder, Routes(candidate=candidate, shadow=self._shadow))


def state_document(state: RolloutState) -> dict[str, Any]:
    """Return a rollout's state as JSON."""
    document = asdict(state)
    document["step_ends_in_s"] = None
    if state.status == RUNNING:
        ends = state.step_started + parse_duration(state.plan["every"])
        document["step_ends_in_s"] = max(0.0, ends - time.time())
    return document
