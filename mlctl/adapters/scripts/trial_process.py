"""The process in which a trial of a search runs a script: a fork of a worker that has imported Keras, or a new one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mlctl.adapters.system.forks import describe_exit, fork, wait_for


class ProcessLost(Exception):
    """A trial's process has died; the message says how."""


class TrialProcess:
    """A process that runs one execution of a trial; it sends what happens, and dies with this process."""

    def __init__(self, connection: Connection, pid: int, process: subprocess.Popen[bytes] | None) -> None:
        self.connection = connection
        self.pid = pid
        self._process = process
        self._status: int | None = None  # its exit status, when it was waited for

    @classmethod
    def fork(cls, work: Callable[[Connection], None]) -> TrialProcess:
        """Start a fork of this process, which calls `work` with its end of the connection."""
        own, childs = _connected()

        def run() -> None:
            own.close()
            _randomize()
            work(Connection(childs.detach()))

        pid = fork(run)
        childs.close()
        return cls(Connection(own.detach()), pid, None)

    @classmethod
    def start(cls, module: str, arguments: Sequence[str]) -> TrialProcess:
        """Start a new process that runs a module; its last argument is the descriptor of its connection."""
        own, childs = _connected()
        with childs:
            descriptor = childs.fileno()
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments, str(descriptor)],
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
            )
        return cls(Connection(own.detach()), process.pid, process)

    def receive(self, timeout_s: float | None = None) -> Any:
        """Return what the process has sent; raise ProcessLost if it has died, and TimeoutError after some time."""
        try:
            if not self.connection.poll(timeout_s):
                raise TimeoutError
            return self.connection.recv()
        except (EOFError, ConnectionError):
            status = self._wait()
            raise ProcessLost(
                f"its process ended before the script did{describe_exit(status) or ' (exit code 0)'}"
            ) from None

    def send(self, message: Any) -> None:
        """Send a message; `receive` raises if the process has died."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def close(self) -> None:
        """Kill the process if it still runs."""
        self.connection.close()
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._wait()

    def _wait(self) -> int:
        if self._status is None:
            self._status = self._process.wait() if self._process else wait_for(self.pid)
        return self._status


def _connected() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def _randomize() -> None:
    """Seed what a fork has inherited, so that a script without a seed is as random as in a process of its own."""
    import random

    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


@contextlib.contextmanager
def output_to(file: str | None) -> Iterator[None]:
    """Let this process, and those that it starts, write what they print to the end of a file (None: to nothing)."""
    path = Path(file or os.devnull)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for target in (1, 2):
        os.dup2(descriptor, target)
    os.close(descriptor)
    sys.stdout = open(1, "w", buffering=1, closefd=False, errors="replace")  # noqa: SIM115 - until the process ends
    sys.stderr = open(2, "w", buffering=1, closefd=False, errors="replace")  # noqa: SIM115
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def last_lines(file: str | None, count: int = 5) -> str:
    """Return the last lines of a trial's output."""
    if file is None or not Path(file).exists():
        return ""
    with Path(file).open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - 8192))
        text = stream.read().decode(errors="replace")
    lines = [line.rpartition("\r")[2].rstrip()[:300] for line in text.splitlines()]
    return "\n".join([line for line in lines if line][-count:])
