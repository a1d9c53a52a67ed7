"""Processes that outlive the command that started them: start, identify and stop them.

A pid alone identifies nothing, because another program may have it later. A process is identified by its pid and
its birth as the kernel counts it (`machine.birth`), or by its start time if the kernel does not tell its birth.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mlctl import machine

START_TIME_TOLERANCE_S = 0.02  # the kernel counts a process's age in hundredths of a second
KILL_TIMEOUT_S = 5


@dataclass(frozen=True)
class DaemonProcess:
    """A process in a session of its own.

    Args:
        pid: Process id.
        started: Start time in seconds since 1970.
        birth: `machine.birth` of the process; None if the kernel does not tell it.
    """

    pid: int
    started: float
    birth: str | None = None

    @classmethod
    def from_pid(cls, pid: int) -> DaemonProcess:
        """Return a running process; raises psutil.NoSuchProcess."""
        return cls(pid, psutil.Process(pid).create_time(), machine.birth(pid))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> DaemonProcess:
        """Return the process of a state file; one that an older mlctl wrote has no birth."""
        return cls(state["pid"], state["started"], state.get("birth"))

    def to_state(self) -> dict[str, Any]:
        """Return the values that `from_state` needs."""
        return {"pid": self.pid, "started": self.started, "birth": self.birth}

    def is_alive(self) -> bool:
        """Return whether this very process still runs: not another one with its pid, and not a zombie."""
        try:
            process = psutil.Process(self.pid)
            if self.birth:
                is_same = machine.birth(self.pid) == self.birth
            else:
                is_same = abs(process.create_time() - self.started) <= START_TIME_TOLERANCE_S
            return is_same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def memory_mb(self) -> float | None:
        """Return the memory of the process and its children, shared pages counted once; None if unknown."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            infos = [member.memory_full_info() for member in (process, *process.children(recursive=True))]
            return sum(getattr(info, "pss", info.uss) for info in infos) / 1e6
        return None


def current_process() -> DaemonProcess:
    """Return the running process."""
    return DaemonProcess.from_pid(os.getpid())


def spawn(
    argv: Sequence[str],
    log: Path,
    *,
    stdin: bytes = b"",
    drop_variables: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> DaemonProcess:
    """Start a process that outlives this one and shares none of its streams; return it.

    Args:
        argv: Command line.
        log: File with mode 600, to which the process's output is appended.
        stdin: What the process reads on stdin. Pass secrets here: others can read a process's environment.
        drop_variables: Names of environment variables that the process does not inherit.
        environment: Further environment variables.
        descriptors: File descriptors that the process inherits.
    """
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as output:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**_environment_without(drop_variables), **(environment or {})},
            pass_fds=descriptors,
            start_new_session=True,
        )
    process = DaemonProcess.from_pid(child.pid)
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it ended at once: its log says why
        child.stdin.write(stdin)
        child.stdin.close()
    return process


def exec_program(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    drop_variables: Iterable[str] = (),
    descriptors: Sequence[int] = (),
) -> None:
    """Replace this process by another program; never returns. The arguments are those of `spawn`."""
    reader, writer = os.pipe()
    os.write(writer, stdin)  # far less than a pipe's buffer
    os.close(writer)
    os.dup2(reader, 0)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # a spinner ends
    os.execve(argv[0], list(argv), _environment_without(drop_variables))  # noqa: S606  # no shell is wanted


def stop(process: DaemonProcess, grace_s: float) -> str:
    """End a process and its session.

    Returns "gracefully" if it ended within `grace_s` seconds after SIGTERM, "firmly" if it was killed, and "gone"
    if it had ended before.
    """
    if not process.is_alive():
        return "gone"
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    if _wait_for_end(process, grace_s):
        return "gracefully"
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    _wait_for_end(process, KILL_TIMEOUT_S)
    return "firmly"


def _environment_without(names: Iterable[str]) -> dict[str, str]:
    dropped = set(names)
    return {name: value for name, value in os.environ.items() if name not in dropped}


def _wait_for_end(process: DaemonProcess, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)  # it may be a child of this process
        if not process.is_alive():
            return True
        time.sleep(0.02)
    return False
