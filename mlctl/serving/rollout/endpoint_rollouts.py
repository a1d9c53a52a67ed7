"""What a supervisor needs of rollouts and shadows: it starts and stops them, and answers the orders about them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from mlctl.domain.latency import quantile
from mlctl.domain.rollout import RolloutPlan, parse_guards, parse_steps
from mlctl.domain.version_counts import VersionCounts
from mlctl.serving.endpoint_folder import EndpointFolder
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.rollout.control_server import ControlServer
from mlctl.serving.rollout.controller import (
    Host,
    RolloutController,
    RolloutError,
    state_document,
)
from mlctl.serving.rollout.record import RolloutRecord
from mlctl.serving.rollout.routes import VersionRoute
from mlctl.serving.rollout.version_stats import SHADOW, read_counts
from mlctl.serving.supervision.local_address import LocalAddress
from mlctl.serving.supervision.worker_process import WorkerStartError
from mlctl.units import parse_duration

SHADOW_RESTART_S = 10.0


class EndpointRollouts:
    """The rollout, the shadow and the control socket of one endpoint. Create it inside a running event loop.

    Attributes:
        details: Returns what `show` tells besides traffic and rollout: the workers and the refused versions.
        check: Returns why a version cannot replace the one that is served, or None.
    """

    def __init__(self, host: Host, endpoint: str, files: EndpointFolder) -> None:
        self._host = host
        self._files = files
        self._record = RolloutRecord(host.folder, endpoint, host.log)
        self._controller = RolloutController(host)
        self._controller.on_change = self._record.keep
        self._controller.promote = self._record.promote
        self._address = LocalAddress(host.folder)
        self._control = ControlServer()
        self._shadow: ServedVersion | None = None
        self._shadow_task: asyncio.Task[None] | None = None
        self.details: Callable[[], dict[str, Any]] = dict
        self.check: Callable[[ServedVersion], str | None] = lambda serving: None

    @property
    def control_path(self) -> str:
        """Path of the control socket."""
        return self._address.path

    async def start(self) -> None:
        """Take orders."""
        self._controller.state = self._record.restore()
        for order in ("folder", "rollout", "abort", "show"):
            self._control.on(order, getattr(self, f"_{order}"))
        await self._control.start(self._address.listener)

    def start_shadow(self, serving: ServedVersion, share: float) -> None:
        """Send copies of a share of the requests to another version, and keep its worker running."""
        self._shadow = serving
        self._shadow_task = asyncio.get_running_loop().create_task(self._run_shadow(serving, share))

    async def serving_changes(self, version: str) -> None:
        """End a rollout because the endpoint will serve another version than the one before the rollout."""
        await self._controller.give_way(version)

    async def stop(self) -> None:
        """End the rollout and the shadow."""
        self._control.close()
        self._address.close()
        if self._shadow_task is not None:
            self._shadow_task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._shadow_task
        await self._controller.stop()
        await self._record.close()

    async def _folder(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return a folder into which the version's files can be fetched."""
        return {"folder": str(self._files.new_incoming())}

    async def _rollout(self, order: dict[str, Any]) -> dict[str, Any]:
        serving, texts = self._files.accept(ServedVersion(**order["serving"])), order["plan"]
        plan = RolloutPlan(
            steps=parse_steps(texts["steps"]),
            every_s=parse_duration(texts["every"]),
            guards=parse_guards(tuple(texts["guards"])),
            sticky=texts["sticky"],
            promote=texts["promote"],
        )
        self._controller.require_idle()
        if reason := self.check(serving):
            self._host.clean_up()
            raise RolloutError(f"version {serving.version} is refused: {reason}")
        return {"rollout": state_document(self._controller.start(serving, plan, texts))}

    async def _abort(self, order: dict[str, Any]) -> dict[str, Any]:
        return {"rollout": state_document(await self._controller.abort(order["reason"]))}

    async def _show(self, order: dict[str, Any]) -> dict[str, Any]:
        counts = read_counts(self._host.folder)
        state = self._controller.state
        return {
            "versions": [_traffic(role, version, counts[role, version]) for role, version in sorted(counts)],
            "rollout": state_document(state) if state else None,
            "shadow": self._shadow.version or self._shadow.name if self._shadow else "",
            **self.details(),
        }

    async def _run_shadow(self, serving: ServedVersion, share: float) -> None:
        """Keep a worker of the shadow running."""
        while True:
            pool = self._host.create_pool(serving, SHADOW)
            ended = asyncio.Event()
            pool.on_death = lambda reason, ended=ended: self._shadow_ended(reason, ended)  # type: ignore[misc]
            try:
                await pool.start()
                assert pool.address is not None
                self._controller.set_shadow(
                    VersionRoute(
                        name=serving.name, version=serving.version, socket=pool.address.path, share=share
                    )
                )
                self._host.log(f"version {serving.version} is the shadow")
                await ended.wait()
            except (WorkerStartError, OSError) as error:
                self._host.log(f"the shadow cannot be served: {error}")
            finally:
                self._controller.set_shadow(None)
                pool.kill()
                await pool.wait()
            await asyncio.sleep(SHADOW_RESTART_S)

    def _shadow_ended(self, reason: str, ended: asyncio.Event) -> None:
        self._host.log(f"the shadow's {reason}")
        ended.set()


def _traffic(role: str, version: str, counts: VersionCounts) -> dict[str, Any]:
    def milliseconds(percent: float) -> float | None:
        seconds = quantile(counts.histogram, percent / 100)
        return None if seconds is None else round(seconds * 1000, 3)

    return {
        "role": role,
        "version": version,
        "requests": round(counts.requests),
        "refused": round(counts.refused),
        "errors": round(counts.errors),
        "in_flight": round(counts.in_flight),
        "p50_ms": milliseconds(50),
        "p95_ms": milliseconds(95),
        "p99_ms": milliseconds(99),
        "compared": round(counts.compared),
        "agreement": counts.agreement,
        "dropped": round(counts.dropped),
    }
