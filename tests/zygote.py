"""A process that imports mlctl once and forks a child for each mlctl command, to save the imports.

Each command is a process of its own, with its own environment, log and signals; only the imports are shared.
Tests of what happens during the imports use `python -m mlctl` instead.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class MlctlProcess:
    """An mlctl process that the zygote started."""

    pid: int
    log: Path
    _exit_codes: Mapping[int, int]

    @property
    def output(self) -> str:
        """What the process has written so far, both streams together."""
        return self.log.read_text()

    def poll(self) -> int | None:
        """Return the exit code, the negative signal number if a signal ended it, or None if it still runs."""
        return self._exit_codes.get(self.pid)

    def wait(self, timeout_s: float = 180) -> int:
        """Wait for the exit code."""
        deadline = time.monotonic() + timeout_s
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"still running after {timeout_s} s:\n{self.output}"
            time.sleep(0.01)
        return code

    def send(self, number: int) -> None:
        """Send a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass
class Zygote:
    """Starts mlctl processes."""

    process: subprocess.Popen[str]
    exit_codes: dict[int, int] = field(default_factory=dict)
    pids: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(
        self, arguments: Sequence[object], state: Path, log: Path, uri: str = "", **environment: str
    ) -> MlctlProcess:
        """Start `mlctl ARGUMENTS` with its own state folder and tracking store."""
        state.mkdir(parents=True, exist_ok=True)
        if uri:
            environment["MLFLOW_TRACKING_URI"] = uri
        request = {
            "arguments": [str(argument) for argument in arguments],
            "environment": {"MLCTL_STATE_DIR": str(state), **environment},
            "log": str(log),
            "cwd": str(state),
        }
        assert self.process.stdin
        log.touch()
        with self._lock:
            count = len(self.pids)
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            deadline = time.monotonic() + 120  # the first process waits for the imports
            while len(self.pids) == count:
                assert time.monotonic() < deadline, "the zygote does not answer"
                time.sleep(0.002)
            return MlctlProcess(self.pids[-1], log, self.exit_codes)

    def listen(self) -> None:
        """Receive the zygote's messages about its children until it ends."""
        assert self.process.stdout
        for line in self.process.stdout:
            message = json.loads(line)
            if "code" in message:
                self.exit_codes[message["pid"]] = message["code"]
            else:
                self.pids.append(message["pid"])


@contextlib.contextmanager
def running() -> Iterator[Zygote]:
    """Run a zygote. When it ends, it kills its children."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.zygote"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        # a user's shell does not have the variables that the test process has set for MLflow
        env={name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        | {"MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false"},  # they are never the same twice
    )
    zygote = Zygote(process)
    threading.Thread(target=zygote.listen, daemon=True).start()
    try:
        yield zygote
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(20)


def _serve() -> None:
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    with runtime.fast_imports():
        import mlctl.services.training.sync
        import mlctl.services.training.training  # noqa: F401
    children: set[int] = set()
    while True:
        readable, _, _ = select.select([0], [], [], 0.02)
        with contextlib.suppress(ChildProcessError):
            while children:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                children.discard(pid)
                print(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}), flush=True)
        if not readable:
            continue
        line = b""
        while not line.endswith(b"\n"):
            if not (byte := os.read(0, 1)):
                for pid in children:
                    os.kill(pid, signal.SIGKILL)
                return
            line += byte
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run_command(request)
        children.add(pid)
        print(json.dumps({"pid": pid}), flush=True)


def _run_command(request: dict[str, Any]) -> None:
    os.setsid()
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    faulthandler.register(signal.SIGUSR1)  # to see where a process hangs
    sys.argv = ["mlctl", *request["arguments"]]
    from mlctl.__main__ import main

    try:
        main()
    except SystemExit as exc:
        os._exit(exc.code if isinstance(exc.code, int) else 1)
    os._exit(0)


if __name__ == "__main__":
    _serve()
