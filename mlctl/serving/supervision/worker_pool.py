"""The workers of one version: started together, kept at their number, and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil

from mlctl.serving.control import GO
from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion
from mlctl.serving.supervision.events import log_event
from mlctl.serving.supervision.local_address import LocalAddress
from mlctl.serving.supervision.worker_process import (
    METRICS_FOLDER,
    WorkerProcess,
    WorkerStartError,
    exit_text,
)

WATCH_INTERVAL_S = 1.0
SILENCE_MARGIN_S = 15.0  # a worker that has sent no sign of life for the timeout and this long is hung
MAX_DELAY_S = 30.0  # between two attempts to start a worker
MANY_DEATHS, DEATHS_WINDOW_S = 4, 60.0  # from then on, each further death makes the next start wait


class WorkerPool:
    """The workers of one version. Create it inside a running event loop.

    Attributes:
        serving: The version.
        workers: Workers that are ready.
        on_death: Called with the reason when a worker ends that was not asked to.
        on_message: Called with each message of a worker, except those that concern the pool itself.
        on_start_failure: Called with the reason when a worker that replaces another cannot be started.
    """

    def __init__(self, spec: EndpointSpec, serving: ServedVersion, *, is_local: bool = False) -> None:
        """Create a pool without workers.

        Args:
            spec: Specification of the endpoint.
            serving: The version that the workers serve.
            is_local: They listen on a Unix socket until they are activated.
        """
        self.serving = serving
        self.address = LocalAddress(Path(spec.scratch)) if is_local else None
        local_fd = self.address.listener.fileno() if self.address else None
        self._spec = dataclasses.replace(spec, serving=serving, local_fd=local_fd)
        self.workers: list[WorkerProcess] = []
        self.on_death: Callable[[str], None] = _ignore
        self.on_start_failure: Callable[[str], None] = _ignore
        self.on_message: Callable[[dict[str, Any]], None] = _ignore
        self._is_active = False
        self._keeps_number = False
        self._is_retired = False
        self._leaving: set[WorkerProcess] = set()
        self._messages: dict[str, Any] = {}
        self._deaths: deque[float] = deque(maxlen=32)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_retired(self) -> bool:
        """Whether it was stopped."""
        return self._is_retired

    async def start(self) -> None:
        """Start the workers and wait until all are ready. Raises WorkerStartError; then none is left."""
        workers = [await WorkerProcess.spawn(self._spec) for _ in range(self._spec.workers)]
        starts = [asyncio.create_task(worker.wait_until_ready()) for worker in workers]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            self._is_retired = True
            for worker in workers:
                worker.kill()
            await asyncio.gather(*(worker.wait() for worker in workers), *starts, return_exceptions=True)
            for worker in workers:
                self._clean_up_after(worker)
            self._close_address()
            raise
        for worker in workers:
            self._take(worker)
        self._run(self._watch_silence())

    def activate(self) -> None:
        """Let the workers take the endpoint's address."""
        self._is_active = True
        self.keep_number()
        for worker in self.workers:
            worker.send(GO)

    def keep_number(self) -> None:
        """Replace workers that end from now on."""
        self._keeps_number = True

    def describe(self) -> list[dict[str, Any]]:
        """Return the pid, the role, the version and the memory of each worker, for `mlctl endpoints show`."""
        described = []
        for worker in self.workers:
            with contextlib.suppress(psutil.Error):  # it has just ended
                memory = psutil.Process(worker.pid).memory_info().rss
                described.append(
                    {
                        "pid": worker.pid,
                        "role": "serving" if self._is_active else self._spec.role,
                        "version": self.serving.version,
                        "memory_bytes": memory,
                    }
                )
        return described

    def send(self, key: str, content: Any) -> None:
        """Send a message to all workers, and to those that replace them later."""
        self._messages[key] = content
        for worker in self.workers:
            worker.send({key: content})

    def stop(self) -> None:
        """Let the workers answer their open requests and end."""
        self._is_retired = True
        for worker in self.workers:
            worker.stop(self._spec.timeout_s)
        self._close_address()

    def kill(self) -> None:
        """End the workers at once."""
        self._is_retired = True
        for worker in (*self.workers, *self._leaving):
            worker.kill()
        self._close_address()

    async def wait(self) -> None:
        """Wait until all workers of a stopped pool have ended."""
        pending = {task for task in self._tasks if task.get_name() == "worker"}
        if pending:
            await asyncio.wait(pending)
        for task in self._tasks:
            task.cancel()

    async def _start_one(self) -> WorkerProcess:
        worker = await WorkerProcess.spawn(self._spec)
        try:
            await worker.wait_until_ready()
        except BaseException:
            worker.kill()
            await worker.wait()
            self._clean_up_after(worker)
            raise
        return worker

    def _take(self, worker: WorkerProcess) -> None:
        self.workers.append(worker)
        for key, content in self._messages.items():
            worker.send({key: content})
        if self._is_active:
            worker.send(GO)
        self._run(self._follow(worker), name="worker")
        if self._is_retired:  # meanwhile
            worker.stop(self._spec.timeout_s)

    async def _follow(self, worker: WorkerProcess) -> None:
        """Receive a worker's messages until it ends; replace it unless it was asked to end."""
        async for message in worker.messages():
            if "overdue" in message:
                self._replace(worker, "has calls that run longer than the timeout", is_hung=False)
            elif "alive" not in message:
                self.on_message(message)
        code = await worker.wait()
        self._clean_up_after(worker)
        self._leaving.discard(worker)
        if worker in self.workers:
            self.workers.remove(worker)
        if worker.is_stopping or self._is_retired:
            return
        self._deaths.append(time.monotonic())
        self.on_death(f"worker {worker.pid} ended ({exit_text(code)})")
        if self._keeps_number and not self._is_retired:
            log_event(f"worker {worker.pid} ended ({exit_text(code)}); starting another")
            self._run(self._fill_up())

    async def _fill_up(self) -> None:
        """Start a worker in place of one that ended, and try again until that succeeds."""
        await asyncio.sleep(self._delay_after_deaths())
        delay_s = 1.0
        while not self._is_retired and len(self.workers) < self._spec.workers:
            try:
                worker = await self._start_one()
            except (WorkerStartError, OSError) as error:
                log_event(f"no worker can be started: {error}; the next attempt is in {delay_s:.0f} s")
                self.on_start_failure(str(error))
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, MAX_DELAY_S)
            else:
                self._take(worker)
                return

    def _delay_after_deaths(self) -> float:
        recent = sum(time.monotonic() - death < DEATHS_WINDOW_S for death in self._deaths)
        excess = recent - max(MANY_DEATHS, self._spec.workers)
        return min(2.0**excess, MAX_DELAY_S) if excess > 0 else 0.0

    def _replace(self, worker: WorkerProcess, reason: str, *, is_hung: bool) -> None:
        if worker in self._leaving or self._is_retired or not self._keeps_number:
            return
        self._leaving.add(worker)
        log_event(f"worker {worker.pid} {reason}; starting another")
        self._run(self._exchange(worker, is_hung=is_hung))

    async def _exchange(self, worker: WorkerProcess, *, is_hung: bool) -> None:
        """Start a worker in place of one that still runs, and then end that one."""
        try:
            replacement = await self._start_one()
        except (WorkerStartError, OSError) as error:
            log_event(f"no worker can be started in place of worker {worker.pid}: {error}")
            await asyncio.sleep(MAX_DELAY_S)
            self._leaving.discard(worker)  # it may ask again
            return
        if worker in self.workers:
            self.workers.remove(worker)
        self._take(replacement)
        if is_hung:
            worker.kill()
        else:
            worker.stop(self._spec.timeout_s)

    async def _watch_silence(self) -> None:
        """Replace workers whose event loop does not run any more."""
        limit_s = self._spec.timeout_s + SILENCE_MARGIN_S
        while not self._is_retired:
            checked = time.monotonic()
            await asyncio.sleep(WATCH_INTERVAL_S)
            if time.monotonic() - checked > 3 * WATCH_INTERVAL_S:
                continue  # this process was held up, too
            for worker in list(self.workers):
                if (silence_s := time.monotonic() - worker.last_sign) > limit_s:
                    self._replace(worker, f"has been silent for {silence_s:.0f} s", is_hung=True)

    def _clean_up_after(self, worker: WorkerProcess) -> None:
        from mlctl.serving import metrics_files  # only here: most supervisors never need them
        from mlctl.serving.rollout import version_stats

        folder = Path(self._spec.scratch)
        with contextlib.suppress(OSError):
            metrics_files.merge_ended(folder / METRICS_FOLDER, worker.pid)
            version_stats.merge_ended(folder, worker.pid)

    def _close_address(self) -> None:
        if self.address is not None:
            self.address.close()

    def _run(self, coroutine: Coroutine[Any, Any, None], name: str = "") -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=name or None)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ignore(_: Any) -> None:
    return
