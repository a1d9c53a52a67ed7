"""The supervisor of an endpoint: it starts workers, replaces those that die, and swaps model versions.

It never loads a model itself, so it stays small. All workers accept connections from one listening socket, so a
worker that dies takes only its own connections along.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import psutil

from mlctl import machine
from mlctl.files import write_atomically
from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion

START_TIMEOUT_S = 120
MAX_DEATHS, DEATHS_WINDOW_S = 5, 10.0  # the endpoint gives up if workers die faster than this
FOLLOWER_RESTART_S = 2.0
DRAIN_MARGIN_S = 5  # beyond the time that one request may take


class WorkerStartError(Exception):
    """A worker did not become ready; the text is the reason."""


@dataclasses.dataclass(kw_only=True)
class WorkerProcess:
    """A worker process and the connection to it.

    Attributes:
        reader: Receives the worker's messages.
        writer: Sends the specification and the command to serve.
        stopping: The worker was asked to stop, so its end needs no replacement.
        monitor: Task that ends after the process has ended.
    """

    process: subprocess.Popen[bytes]
    serving: ServedVersion
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    stopping: bool = False
    monitor: asyncio.Task[None] | None = None

    async def wait_until_ready(self) -> None:
        """Wait for the worker's report. Raises WorkerStartError with its reason, or TimeoutError."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await self.reader.readline()
        except ConnectionError:
            line = b""
        if not line:
            code = await asyncio.to_thread(self.process.wait)
            raise WorkerStartError(f"its process ended ({_exit_text(code)})")
        if "error" in (report := json.loads(line)):
            raise WorkerStartError(report["error"])

    def stop(self) -> None:
        """Ask the worker to answer its open requests and end."""
        self.stopping = True
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()


class EndpointSupervisor:
    """Runs one endpoint, from its first worker to its last. Create it inside a running event loop."""

    def __init__(self, spec: EndpointSpec) -> None:
        self.spec = spec
        self.serving = spec.serving
        self._workers: list[WorkerProcess] = []
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)
        self._stop = asyncio.Event()
        self._failed = False
        self._changing_workers = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        try:
            workers = await self._start_workers(self.serving)
        except WorkerStartError as error:
            self._report({"error": str(error)})
            return 7
        self._activate(workers)
        self._write_state()
        self._report({"ready": True})
        count = self.spec.workers
        log_event(
            f"serving {self.serving.name} version {self.serving.version} at {self.spec.url}"
            f" with {count} worker{'s' if count > 1 else ''}, pid {os.getpid()}"
        )
        if self.spec.follow:
            self._create_task(self._follow())
        await self._stop.wait()
        await self._shut_down()
        return 7 if self._failed else 0

    async def swap(self, serving: ServedVersion) -> None:
        """Serve another version. Its workers load the model and answer its example before the old ones stop."""
        async with self._changing_workers:
            if serving == self.serving or self._stop.is_set():
                return
            started = time.monotonic()
            try:
                workers = await self._start_workers(serving)
            except WorkerStartError as error:
                log_event(
                    f"version {serving.version} cannot be served, version {self.serving.version} stays: {error}"
                )
                return
            old_workers, self.serving = self._workers, serving
            self._activate(workers)
            for worker in old_workers:
                worker.stop()
            self._write_state()
            log_event(f"serving version {serving.version} after {time.monotonic() - started:.1f} s")

    async def _start_workers(self, serving: ServedVersion) -> list[WorkerProcess]:
        workers = [await self._spawn(serving) for _ in range(self.spec.workers)]
        try:
            await asyncio.gather(*(worker.wait_until_ready() for worker in workers))
        except (WorkerStartError, TimeoutError) as error:
            for worker in workers:
                worker.process.kill()
                worker.process.wait()
                worker.writer.close()
            raise WorkerStartError(str(error) or f"it was not ready within {START_TIMEOUT_S} s") from error
        return workers

    async def _spawn(self, serving: ServedVersion) -> WorkerProcess:
        own_socket, worker_socket = socket.socketpair()
        with worker_socket:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlctl.serving.worker"],
                stdin=worker_socket.fileno(),
                pass_fds=[self.spec.socket_fd],
                env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": self.spec.scratch},
            )
        reader, writer = await asyncio.open_unix_connection(sock=own_socket)
        writer.write(dataclasses.replace(self.spec, serving=serving).to_line())
        return WorkerProcess(process=process, serving=serving, reader=reader, writer=writer)

    def _activate(self, workers: list[WorkerProcess]) -> None:
        """Let workers that are ready serve, and monitor each of them."""
        self._workers = workers
        for worker in workers:
            self._activate_worker(worker)

    def _activate_worker(self, worker: WorkerProcess) -> None:
        worker.writer.write(b"go\n")
        worker.monitor = self._create_task(self._monitor(worker))

    async def _monitor(self, worker: WorkerProcess) -> None:
        """Wait until a worker ends, and replace it unless it was asked to stop."""
        with contextlib.suppress(ConnectionError):
            while await worker.reader.read(64):
                pass
        code = await asyncio.to_thread(worker.process.wait)
        worker.writer.close()
        for file in Path(self.spec.scratch).glob(f"gauge_live*_{worker.process.pid}.db"):
            file.unlink(missing_ok=True)
        if worker.stopping or self._stop.is_set():
            return
        log_event(f"worker {worker.process.pid} ended ({_exit_text(code)}); starting another")
        self._deaths.append(time.monotonic())
        if len(self._deaths) == MAX_DEATHS and self._deaths[-1] - self._deaths[0] < DEATHS_WINDOW_S:
            self._give_up(f"{MAX_DEATHS} workers ended within {DEATHS_WINDOW_S:.0f} s")
            return
        async with self._changing_workers:
            if worker not in self._workers or self._stop.is_set():
                return  # a swap has replaced it already
            try:
                replacement = await self._spawn(self.serving)
                await replacement.wait_until_ready()
            except (WorkerStartError, TimeoutError) as error:
                self._give_up(f"no worker can be started: {error}")
                return
            self._workers[self._workers.index(worker)] = replacement
            self._activate_worker(replacement)

    def _give_up(self, reason: str) -> None:
        log_event(f"giving up: {reason}")
        self._failed = True
        self._stop.set()

    async def _follow(self) -> None:
        """Swap when the follower process names another version; restart the follower if it ends."""
        while not self._stop.is_set():
            follower = await asyncio.create_subprocess_exec(
                *self.spec.follow, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            assert follower.stdout is not None
            try:
                async for line in follower.stdout:
                    with contextlib.suppress(ValueError, TypeError):
                        await self.swap(ServedVersion(**json.loads(line)))
            finally:
                with contextlib.suppress(ProcessLookupError):
                    follower.kill()
            await asyncio.sleep(FOLLOWER_RESTART_S)

    async def _shut_down(self) -> None:
        """Drain the workers, and kill those that take longer than one request may."""
        if self.spec.state_file:
            Path(self.spec.state_file).unlink(missing_ok=True)
        for worker in self._workers:
            worker.stop()
        monitors = [worker.monitor for worker in self._workers if worker.monitor]
        if monitors:
            _, unfinished = await asyncio.wait(monitors, timeout=self.spec.timeout_s + DRAIN_MARGIN_S)
            if unfinished:
                for worker in self._workers:
                    worker.process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        shutil.rmtree(self.spec.scratch, ignore_errors=True)

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

    def _write_state(self) -> None:
        """Write the state file, which `mlctl endpoints` reads."""
        if not self.spec.state_file:
            return
        process = psutil.Process()
        state = {
            "name": self.spec.endpoint,
            "url": self.spec.url,
            "pid": process.pid,
            "started": process.create_time(),
            "birth": machine.birth(process.pid),
            "log": self.spec.log,
            "model_uri": self.serving.uri,
            "model": self.serving.name,
            "version": self.serving.version,
        }
        write_atomically(Path(self.spec.state_file), json.dumps(state).encode(), durable=False)


async def run_endpoint(spec: EndpointSpec) -> int:
    """Run an endpoint and return its exit code."""
    return await EndpointSupervisor(spec).run()


def log_event(text: str) -> None:
    """Write a line with the time to stderr, which is the endpoint's log."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _exit_text(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
