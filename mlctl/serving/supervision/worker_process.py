"""One worker process, as the supervisor sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mlctl.serving.endpoint_spec import EndpointSpec

START_TIMEOUT_S = 120
DRAIN_MARGIN_S = 5  # beyond the time that one request may take
METRICS_FOLDER = "metrics"


class WorkerStartError(Exception):
    """A worker did not become ready; the text is the reason."""


class WorkerProcess:
    """A worker process and the connection to it.

    Attributes:
        process: The process.
        last_sign: When it last sent a message, on the monotonic clock.
        is_stopping: It was asked to stop, so that its end needs no replacement.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self.last_sign = time.monotonic()
        self.is_stopping = False
        self._reader = reader
        self._writer = writer
        self._kill_timer: asyncio.TimerHandle | None = None

    @classmethod
    async def spawn(cls, spec: EndpointSpec) -> WorkerProcess:
        """Start a worker of `spec.serving`; it reports when it is ready."""
        own_socket, worker_socket = socket.socketpair()
        # a signal that is blocked stays so in the worker: Ctrl-C is left to the supervisor
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlctl.serving.worker"],
                stdin=worker_socket.fileno(),
                pass_fds=[fd for fd in (spec.socket_fd, spec.local_fd) if fd is not None],
                env={
                    "MALLOC_ARENA_MAX": "2",  # the threads of a worker would each keep memory of their own
                    **os.environ,
                    "PROMETHEUS_MULTIPROC_DIR": str(Path(spec.scratch) / METRICS_FOLDER),
                },
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            worker_socket.close()
        reader, writer = await asyncio.open_unix_connection(sock=own_socket)
        writer.write(spec.to_line())
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    async def wait_until_ready(self) -> None:
        """Wait for the worker's report. Raises WorkerStartError with its reason."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await self._reader.readline()
        except TimeoutError:
            raise WorkerStartError(f"it was not ready within {START_TIMEOUT_S} s") from None
        except ConnectionError:
            line = b""
        if not line:
            raise WorkerStartError(f"its process ended ({exit_text(await self.wait())}) while it was loading")
        if "error" in (report := json.loads(line)):
            raise WorkerStartError(report["error"])
        self.last_sign = time.monotonic()

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the messages of a worker that is ready, until it ends."""
        with contextlib.suppress(ConnectionError):
            async for line in self._reader:
                self.last_sign = time.monotonic()
                with contextlib.suppress(ValueError):
                    yield json.loads(line)

    def send(self, message: dict[str, Any] | str) -> None:
        """Send a message: a document, or a plain word."""
        line = message if isinstance(message, str) else json.dumps(message)
        if not self._writer.is_closing():
            self._writer.write(line.encode() + b"\n")

    async def wait(self) -> int:
        """Return the exit code when the process has ended."""
        code = await asyncio.to_thread(self.process.wait)
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        self._writer.close()
        return code

    def stop(self, grace_s: float) -> None:
        """Ask the worker to answer its open requests and end; kill it if that takes too long."""
        if self.is_stopping:
            return
        self.is_stopping = True
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        loop = asyncio.get_running_loop()
        self._kill_timer = loop.call_later(grace_s + DRAIN_MARGIN_S, self.kill)

    def kill(self) -> None:
        """Kill the worker."""
        self.is_stopping = True
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


def exit_text(code: int) -> str:
    """Return what an exit code means."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"
