"""Many mlctl processes for the price of one start: a child imports everything once and forks one for each.

Each is a process of its own, with its own environment, log and signals; only the imports are shared. What
happens during imports is tested with `python -m mlctl` instead.
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

import psutil


@dataclass
class Started:
    """One mlctl that was started."""

    pid: int
    log: Path
    _ended: Mapping[int, tuple[int, float]]

    @property
    def said(self) -> str:
        """What it wrote so far, both streams."""
        return self.log.read_text()

    def poll(self) -> int | None:
        """Return the exit code, minus the signal's number where one ended it, None where it lives."""
        return self._ended[self.pid][0] if self.pid in self._ended else None

    @property
    def cpu_s(self) -> float:
        """How many CPU seconds it has used, up to now or up to its end: other programs do not count."""
        if self.pid in self._ended:
            return self._ended[self.pid][1]
        return cpu_s(self.pid)

    def wait(self, within_s: float = 180) -> int:
        """Wait for the exit code."""
        until = time.monotonic() + within_s
        while (code := self.poll()) is None:
            assert time.monotonic() < until, f"not done within {within_s} s:\n{self.said}"
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
    ended: dict[int, tuple[int, float]] = field(default_factory=dict)
    started: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(
        self, arguments: Sequence[object], state: Path, log: Path, uri: str = "", **environment: str
    ) -> Started:
        """Start `mlctl arguments` with its own state folder and store."""
        state.mkdir(parents=True, exist_ok=True)
        given = {"MLCTL_STATE_DIR": str(state), **environment} | ({"MLFLOW_TRACKING_URI": uri} if uri else {})
        asked = {
            "arguments": [str(one) for one in arguments],
            "environment": given,
            "log": str(log),
            "cwd": str(state),
        }
        assert self.process.stdin
        log.touch()
        with self._lock:
            before = len(self.started)
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            until = time.monotonic() + 120  # the first waits for the imports
            while len(self.started) == before:
                assert time.monotonic() < until, "the zygote does not answer"
                time.sleep(0.002)
            return Started(self.started[-1], log, self.ended)

    def listen(self) -> None:
        """Take in what the zygote tells of its children."""
        assert self.process.stdout
        for line in self.process.stdout:
            told = json.loads(line)
            if "code" in told:
                self.ended[told["pid"]] = (told["code"], told["cpu_s"])
            else:
                self.started.append(told["pid"])


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


@contextlib.contextmanager
def running() -> Iterator[Zygote]:
    """Run a zygote; at the end it takes its children with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.zygote"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        # what a test's own process has set for itself is not what a user's shell has
        env={name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
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
        ready, _, _ = select.select([0], [], [], 0.02)
        with contextlib.suppress(ChildProcessError):
            while children:
                pid, status, used = os.wait4(-1, os.WNOHANG)
                if not pid:
                    break
                children.discard(pid)
                told = {"pid": pid, "code": os.waitstatus_to_exitcode(status)}
                print(json.dumps({**told, "cpu_s": used.ru_utime + used.ru_stime}), flush=True)
        if not ready:
            continue
        line = b""
        while not line.endswith(b"\n"):
            if not (byte := os.read(0, 1)):
                for pid in children:
                    os.kill(pid, signal.SIGKILL)
                return
            line += byte
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(asked)
        children.add(pid)
        print(json.dumps({"pid": pid}), flush=True)


def _become(asked: dict[str, Any]) -> None:
    os.setsid()
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    faulthandler.register(signal.SIGUSR1)  # where is it? is asked of one that takes too long
    sys.argv = ["mlctl", *asked["arguments"]]
    from mlctl.__main__ import main

    try:
        main()
    except SystemExit as left:
        os._exit(left.code if isinstance(left.code, int) else 1)
    os._exit(0)


if __name__ == "__main__":
    _serve()
