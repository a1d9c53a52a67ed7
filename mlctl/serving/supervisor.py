"""What keeps an endpoint alive: it starts workers, replaces those that die, and swaps versions beside the old.

It never touches a model itself, so it stays small; all workers accept from one listening socket, so that a
dead one takes only its own connections along.
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
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

import psutil

from mlctl.machine import birth
from mlctl.serving.endpoint_spec import Serving, Spec

START_WITHIN_S = 120
DEATHS, WITHIN_S = 5, 10.0  # workers that die faster than this are not started again
FOLLOW_AGAIN_S = 2.0


class StartError(Exception):
    """A worker that did not come up; the text says why."""


@dataclasses.dataclass
class Worker:
    """A worker process and the socket to it; `leaving` once it was asked to go."""

    process: subprocess.Popen[bytes]
    serving: Serving
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    leaving: bool = False
    gone: asyncio.Task[None] | None = None


class Endpoint:
    """One endpoint, from its first worker to its last."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.serving = spec.serving
        self._workers: list[Worker] = []
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._stop = asyncio.Event()
        self._failed = ""
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        try:
            self._go(await self._start_all(self.serving))
        except StartError as error:
            self._tell_ready({"error": str(error)})
            return 7
        self._note()
        self._tell_ready({"ready": True})
        one = self.serving
        say(f"serving {one.name} version {one.version} at {self.spec.url}: {self.spec.workers} worker"
            f"{'s' if self.spec.workers > 1 else ''}, pid {os.getpid()}")  # fmt: skip
        if self.spec.follow:
            self._task(self._follow())
        await self._stop.wait()
        await self._end()
        return 7 if self._failed else 0

    async def swap(self, serving: Serving) -> None:
        """Serve another version: its workers load and answer first, then take over from the old ones."""
        async with self._changing:
            if serving == self.serving or self._stop.is_set():
                return
            begun = time.monotonic()
            try:
                fresh = await self._start_all(serving)
            except StartError as error:
                say(f"version {serving.version} is refused, version {self.serving.version} stays: {error}")
                return
            old, self.serving = self._workers, serving
            self._go(fresh)
            for worker in old:
                _leave(worker)
            self._note()
            say(f"serving version {serving.version} after {time.monotonic() - begun:.1f} s")

    async def _start_all(self, serving: Serving) -> list[Worker]:
        started = [self._spawn(serving) for _ in range(self.spec.workers)]
        workers = [await one for one in started]
        try:
            await asyncio.gather(*(_ready(worker) for worker in workers))
        except (StartError, TimeoutError) as error:
            for worker in workers:
                worker.process.kill()
                worker.process.wait()
                worker.writer.close()
            raise StartError(str(error) or f"it was not ready within {START_WITHIN_S} s") from error
        return workers

    async def _spawn(self, serving: Serving) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlctl.serving.worker"],
                stdin=theirs.fileno(),
                pass_fds=[self.spec.socket_fd],
                env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": self.spec.scratch},
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        writer.write(dataclasses.replace(self.spec, serving=serving).line())
        return Worker(process, serving, reader, writer)

    def _go(self, workers: Iterable[Worker]) -> None:
        """Let workers that are ready serve, and mind each of them."""
        self._workers = list(workers)
        for worker in self._workers:
            self._begin(worker)

    def _begin(self, worker: Worker) -> None:
        worker.writer.write(b"go\n")
        worker.gone = self._task(self._mind(worker))

    async def _mind(self, worker: Worker) -> None:
        """Wait for a worker's end, and replace one that was not asked to go."""
        with contextlib.suppress(ConnectionError):
            while await worker.reader.read(64):
                pass
        code = await asyncio.to_thread(worker.process.wait)
        worker.writer.close()
        for file in Path(self.spec.scratch).glob(f"gauge_live*_{worker.process.pid}.db"):
            file.unlink(missing_ok=True)
        if worker.leaving or self._stop.is_set():
            return
        say(f"worker {worker.process.pid} ended ({_how(code)}); another takes its place")
        self._deaths.append(time.monotonic())
        if len(self._deaths) == DEATHS and self._deaths[-1] - self._deaths[0] < WITHIN_S:
            self._give_up(f"{DEATHS} workers ended within {WITHIN_S:.0f} s")
            return
        async with self._changing:
            if worker not in self._workers or self._stop.is_set():
                return  # a swap has taken its place already
            try:
                fresh = await self._spawn(self.serving)
                await _ready(fresh)
            except (StartError, TimeoutError) as error:
                self._give_up(f"no worker can be started: {error}")
                return
            self._workers[self._workers.index(worker)] = fresh
            self._begin(fresh)

    def _give_up(self, why: str) -> None:
        say(f"giving up: {why}")
        self._failed = why
        self._stop.set()

    async def _follow(self) -> None:
        """Swap whenever the follower names another version; start it again where it ends."""
        while not self._stop.is_set():
            follower = await asyncio.create_subprocess_exec(
                *self.spec.follow, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            assert follower.stdout is not None
            try:
                async for line in follower.stdout:
                    with contextlib.suppress(ValueError, TypeError):
                        await self.swap(Serving(**json.loads(line)))
            finally:
                with contextlib.suppress(ProcessLookupError):
                    follower.kill()
            await asyncio.sleep(FOLLOW_AGAIN_S)

    async def _end(self) -> None:
        """Drain the workers, firmly after the time that a request may take."""
        if self.spec.state_file:
            Path(self.spec.state_file).unlink(missing_ok=True)
        for worker in self._workers:
            _leave(worker)
        minded = [worker.gone for worker in self._workers if worker.gone]
        if minded:
            _, late = await asyncio.wait(minded, timeout=self.spec.timeout_s + 5)
            if late:
                for worker in self._workers:
                    worker.process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        shutil.rmtree(self.spec.scratch, ignore_errors=True)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _tell_ready(self, document: dict[str, object]) -> None:
        if self.spec.ready_fd is not None:
            with contextlib.suppress(OSError):
                os.write(self.spec.ready_fd, json.dumps(document).encode() + b"\n")
                os.close(self.spec.ready_fd)
        elif "error" in document:
            say(
                f"error: {self.serving.name} version {self.serving.version} cannot be served: {document['error']}"
            )

    def _note(self) -> None:
        """Write down what is served, for `mlctl endpoints`."""
        if not self.spec.state_file:
            return
        me = psutil.Process()
        noted = {
            "name": self.spec.endpoint, "url": self.spec.url, "pid": me.pid, "started": me.create_time(),
            "birth": birth(me.pid), "log": self.spec.log, "model_uri": self.serving.uri, "model": self.serving.name,
            "version": self.serving.version,
        }  # fmt: skip
        file = Path(self.spec.state_file)
        partial = file.with_suffix(".part")
        partial.write_text(json.dumps(noted), encoding="utf-8")
        partial.replace(file)


async def _ready(worker: Worker) -> None:
    """Return when a worker is ready; raises StartError with its reason, TimeoutError."""
    try:
        async with asyncio.timeout(START_WITHIN_S):
            line = await worker.reader.readline()
    except ConnectionError:
        line = b""
    if not line:
        raise StartError(f"its process ended ({_how(await asyncio.to_thread(worker.process.wait))})")
    if "error" in (said := json.loads(line)):
        raise StartError(said["error"])


def _leave(worker: Worker) -> None:
    worker.leaving = True
    with contextlib.suppress(ProcessLookupError):
        worker.process.terminate()


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def say(text: str) -> None:
    """Tell on stderr, with the time."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)
