"""The supervisor of an endpoint: it runs the workers of the version that is served, and of those that are tried.

It never loads a model itself, so it stays small. All workers accept connections from one listening socket, so a
worker that dies takes only its own connections along. An endpoint that has served once does not end by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from mlctl.serving.endpoint_folder import EndpointFolder
from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion
from mlctl.serving.log_file import LogRotation
from mlctl.serving.rollout.endpoint_rollouts import EndpointRollouts
from mlctl.serving.supervision.events import log_event
from mlctl.serving.supervision.follower import follow
from mlctl.serving.supervision.state_file import EndpointStateFile
from mlctl.serving.supervision.versions import VersionSwitch
from mlctl.serving.supervision.worker_pool import WorkerPool
from mlctl.serving.supervision.worker_process import WorkerStartError

LOG_INTERVAL_S = 2.0
SHADOW = "shadow"


class EndpointSupervisor:
    """Runs one endpoint, from its first worker to its last. Create it inside a running event loop."""

    def __init__(self, spec: EndpointSpec) -> None:
        self.spec = spec
        self.versions = VersionSwitch(spec)
        self.versions.on_change = self._version_changed
        self._files = EndpointFolder(Path(spec.scratch))
        self._rollouts: EndpointRollouts | None = None
        self._state = EndpointStateFile(spec)
        self._stop = asyncio.Event()
        self._pools: list[WorkerPool] = []  # of versions that neither have the address nor are tried
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop)
        self._files.open()
        start = asyncio.create_task(self.versions.start())
        await asyncio.wait({start, self._create_task(self._wait_for_stop())}, return_when="FIRST_COMPLETED")
        if not start.done():
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
            self._files.remove()
            return 0
        try:
            start.result()
        except (WorkerStartError, OSError) as error:
            self._report({"error": str(error)})
            self._files.remove()
            return 7
        await self._start_rollouts()
        self._write_state()
        self._report({"ready": True})
        count, serving = self.spec.workers, self.serving
        log_event(
            f"serving {serving.name}{f' version {serving.version}' if serving.version else ''} at {self.spec.url}"
            f" with {count} worker{'s' if count > 1 else ''}, pid {os.getpid()}"
        )
        if self.spec.follow:
            self._create_task(
                follow(
                    self.spec.follow,
                    on_version=self._follow_version,
                    on_failure=self.versions.refuse_unfetched,
                    before_start=self._files.clear_incoming,
                )
            )
        if self.spec.log:
            self._create_task(self._rotate_log())
        await self._stop.wait()
        await self._shut_down()
        return 0

    @property
    def serving(self) -> ServedVersion:
        """The version that clients get."""
        return self.versions.serving

    @property
    def timeout_s(self) -> float:
        """Seconds that the model has to answer a request."""
        return self.spec.timeout_s

    @property
    def folder(self) -> Path:
        """Folder of the endpoint's files."""
        return self._files.path

    def create_pool(self, serving: ServedVersion, role: str) -> WorkerPool:
        """Return workers of another version at a Unix socket; none is started yet."""
        count = 1 if role == SHADOW else self.spec.workers
        spec = dataclasses.replace(self.spec, role=role, workers=count)
        pool = WorkerPool(spec, serving, is_local=True)
        self._pools.append(pool)
        return pool

    async def take_over(self, pool: WorkerPool) -> None:
        """Let these workers take the endpoint's address in place of those that serve."""
        self.versions.take_over(pool)

    def log(self, text: str) -> None:
        """Write a line to the endpoint's log."""
        log_event(text)

    def clean_up(self) -> None:
        """Remove the copies of versions that are not needed any more."""
        self._pools = [pool for pool in self._pools if not pool.is_retired]
        shadow = [self.spec.shadow] if self.spec.shadow else []
        self._files.keep_only([*self.versions.versions, *(pool.serving for pool in self._pools), *shadow])

    async def _start_rollouts(self) -> None:
        self._rollouts = EndpointRollouts(self, self.spec.endpoint, self._files)
        self._rollouts.check = self.versions.problem_of
        self._rollouts.details = self._describe
        await self._rollouts.start()
        if self.spec.shadow:
            self._rollouts.start_shadow(self.spec.shadow, self.spec.shadow_share)

    def _describe(self) -> dict[str, Any]:
        """Return what `mlctl endpoints show` tells of workers and refused versions."""
        refused = self.versions.refused
        pools = [*self.versions.pools, *(pool for pool in self._pools if pool not in self.versions.pools)]
        return {
            "workers": [worker for pool in pools for worker in pool.describe()],
            "refused": [dataclasses.asdict(refused)] if refused else [],
        }

    def _follow_version(self, serving: ServedVersion) -> None:
        self._create_task(self._serve_next(self._files.accept(serving)))

    async def _serve_next(self, serving: ServedVersion) -> None:
        if self._rollouts is not None:
            await self._rollouts.serving_changes(serving.version)
        self.versions.request(serving)

    def _version_changed(self) -> None:
        self._write_state()
        self.clean_up()

    def _write_state(self) -> None:
        control = self._rollouts.control_path if self._rollouts else ""
        self._state.write(self.serving, self.versions.refused, control=control)

    async def _rotate_log(self) -> None:
        rotation = LogRotation(Path(self.spec.log), self.spec.log_size)
        while True:
            await asyncio.sleep(LOG_INTERVAL_S)
            if rotation.rotate_if_large():
                for pool in (*self.versions.pools, *self._pools):
                    pool.send("log", self.spec.log)

    def _ask_to_stop(self) -> None:
        """Drain; asked a second time, end at once."""
        if self._stop.is_set():
            log_event("stopping at once")
            self.versions.kill()
            for pool in self._pools:
                pool.kill()
        else:
            self._stop.set()

    async def _wait_for_stop(self) -> None:
        await self._stop.wait()

    async def _shut_down(self) -> None:
        """Let the workers answer their open requests, and kill those that take longer than one request may."""
        log_event("stopping after the requests in progress; Ctrl-C again stops at once")
        self._state.remove()
        for task in self._tasks:
            task.cancel()
        if self._rollouts is not None:
            await self._rollouts.stop()
        for pool in self._pools:
            pool.stop()
        await asyncio.gather(
            self.versions.stop(), *(pool.wait() for pool in self._pools), return_exceptions=True
        )
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._files.remove()

    def _create_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _report(self, document: dict[str, object]) -> None:
        """Tell the command that started this endpoint whether it is ready."""
        if self.spec.ready_fd is not None:
            with contextlib.suppress(OSError):
                os.write(self.spec.ready_fd, json.dumps(document).encode() + b"\n")
                os.close(self.spec.ready_fd)
        elif "error" in document:
            name, version = self.serving.name, self.serving.version
            log_event(f"error: {name} version {version} cannot be served: {document['error']}")


async def run_endpoint(spec: EndpointSpec) -> int:
    """Run an endpoint and return its exit code."""
    return await EndpointSupervisor(spec).run()
