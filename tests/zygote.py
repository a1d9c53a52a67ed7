"""mlctl processes whose signals, log and exit code a test sees, forked by `tests.warm_server` to save the imports."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests import warm_server


@dataclass
class MlctlProcess:
    """An mlctl process that the server started."""

    pid: int
    log: Path
    _connection: socket.socket
    _exit_code: int | None = None

    @property
    def output(self) -> str:
        """What the process has written so far, both streams together."""
        return self.log.read_text()

    def poll(self) -> int | None:
        """Return the exit code, the negative signal number if a signal ended it, or None if it still runs."""
        return self._read_exit_code(timeout_s=0)

    def wait(self, timeout_s: float = 180) -> int:
        """Wait for the exit code."""
        code = self._read_exit_code(timeout_s)
        assert code is not None, f"still running after {timeout_s} s:\n{self.output}"
        return code

    def send(self, number: int) -> None:
        """Send a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def _read_exit_code(self, timeout_s: float) -> int | None:
        if self._exit_code is None and select.select([self._connection], [], [], timeout_s)[0]:
            with self._connection:
                self._exit_code = int(self._connection.recv(16))
        return self._exit_code


@dataclass
class Zygote:
    """Starts mlctl processes."""

    processes: list[MlctlProcess] = field(default_factory=list)

    def start(
        self, arguments: Sequence[object], state: Path, log: Path, uri: str = "", **environment: str
    ) -> MlctlProcess:
        """Start `mlctl ARGUMENTS` with its own state folder and tracking store."""
        state.mkdir(parents=True, exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        own = {
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",  # they are never the same twice
            "MLCTL_STATE_DIR": str(state),
            **({"MLFLOW_TRACKING_URI": uri} if uri else {}),
        }
        with Path(os.devnull).open("rb") as nothing, log.open("ab") as output:
            pid, connection = warm_server.connect(
                [str(argument) for argument in arguments],
                state,
                {**inherited, **own, **environment},
                (nothing.fileno(), output.fileno(), output.fileno()),
            )
        self.processes.append(MlctlProcess(pid, log, connection))
        return self.processes[-1]


@contextlib.contextmanager
def running() -> Iterator[Zygote]:
    """Yield a zygote. At the end, kill its processes that still run."""
    zygote = Zygote()
    try:
        yield zygote
    finally:
        for process in zygote.processes:
            if process.poll() is None:
                process.send(signal.SIGKILL)
