"""Processes that outlive the command that began them: starting, recognising and stopping them.

A pid alone proves nothing, since another program may have it by now: a process is known by its pid and its
birth, as the kernel counts it. Where that is not told, the time of day at which it began must do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mlctl import machine

CLOCK_SLACK_S = 0.02  # the kernel counts a process's age in hundredths of a second


@dataclass(frozen=True)
class DaemonProcess:
    """A process in a session of its own.

    `started` is when it began, in seconds since the epoch; `birth` is `machine.birth` of it, where there is one.
    """

    pid: int
    started: float
    birth: str | None = None

    @classmethod
    def of(cls, pid: int) -> DaemonProcess:
        """Return a process that runs now; raises psutil.NoSuchProcess."""
        return cls(pid, psutil.Process(pid).create_time(), machine.birth(pid))

    @classmethod
    def noted(cls, note: Mapping[str, Any]) -> DaemonProcess:
        """Return the process of a note; one that an older mlctl wrote has no birth."""
        return cls(note["pid"], note["started"], note.get("birth"))

    def as_note(self) -> dict[str, Any]:
        """Return what a note needs, for `noted` to find it again."""
        return {"pid": self.pid, "started": self.started, "birth": self.birth}

    def alive(self) -> bool:
        """Whether this very process still runs: not another one with its pid, and not a zombie."""
        try:
            process = psutil.Process(self.pid)
            if self.birth:
                same = machine.birth(self.pid) == self.birth
            else:
                same = abs(process.create_time() - self.started) <= CLOCK_SLACK_S
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def memory_mb(self) -> float | None:
        """Return the memory of it and its children, shared pages counted once; None where that is unknown."""
        with contextlib.suppress(psutil.Error):
            whole = psutil.Process(self.pid)
            family = [whole, *whole.children(recursive=True)]
            figures = [one.memory_full_info() for one in family]
            return sum(getattr(one, "pss", one.uss) for one in figures) / 1e6
        return None


def myself() -> DaemonProcess:
    """Return the running process."""
    return DaemonProcess.of(os.getpid())


def spawn(
    argv: Sequence[str],
    log: Path,
    said: bytes = b"",
    hidden: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> DaemonProcess:
    """Start a process that outlives this one and holds none of its streams; return it.

    `said` is what it reads on stdin, `hidden` names variables that it does not inherit (secrets are said, not
    inherited: an environment can be read in the process list). Its output is appended to `log`, mode 600.
    """
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    inherited = {name: value for name, value in os.environ.items() if name not in set(hidden)}
    with os.fdopen(os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as output:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**inherited, **(environment or {})},
            pass_fds=descriptors,
            start_new_session=True,
        )
    born = DaemonProcess.of(child.pid)
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it ended at once: its log says why
        child.stdin.write(said)
        child.stdin.close()
    return born


def replace_self(
    argv: Sequence[str], said: bytes, hidden: Iterable[str] = (), descriptors: Sequence[int] = ()
) -> None:
    """Become another program, which reads `said` on stdin; never returns."""
    reader, writer = os.pipe()
    os.write(writer, said)  # far below what a pipe holds
    os.close(writer)
    os.dup2(reader, 0)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    kept = {name: value for name, value in os.environ.items() if name not in set(hidden)}
    os.execve(argv[0], list(argv), kept)  # noqa: S606  # no shell is wanted


def stop(process: DaemonProcess, grace_s: float) -> str:
    """End a process and its session; return "gracefully", "firmly" or "gone" where it had ended before.

    It gets `grace_s` seconds to finish what it has begun.
    """
    if not process.alive():
        return "gone"
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    if _ends_within(process, grace_s):
        return "gracefully"
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    _ends_within(process, 5)
    return "firmly"


def _ends_within(process: DaemonProcess, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)  # it may be a child of this very process
        if not process.alive():
            return True
        time.sleep(0.02)
    return False
