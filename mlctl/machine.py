"""What identifies this machine and a process on it, how a process ends with its parent, and its stderr."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # of Linux's prctl


def identity() -> str:
    """Return an identifier of this machine that reveals nothing else about it."""
    try:
        machine_id = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        machine_id = str(uuid.getnode())
    return hashlib.sha256(f"mlctl {machine_id} {platform.node()}".encode()).hexdigest()[:16]


def birth(pid: int) -> str | None:
    """Return what no other process with this pid has: the boot's id, and the clock ticks from boot to its start.

    Unlike a time of day, it does not change when the clock is set. Return None if the process is gone, or if the
    kernel does not tell (any system but Linux).
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return f"{boot} {int(fields[19])}"  # field 22 of the line; the name in brackets may contain spaces


def die_with_parent(parent: int) -> None:
    """Kill this process when its parent ends, however the parent ends.

    The Linux kernel does this. On other systems a thread checks once a second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_oom_kills() -> int:
    """Return how many processes the Linux kernel has killed for want of memory; 0 if it does not tell."""
    count = 0
    for file in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        try:
            fields = dict(line.split()[:2] for line in Path(file).read_text(encoding="ascii").splitlines())
        except (OSError, ValueError):
            continue
        count += int(fields.get("oom_kill", 0))
    return count


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Discard what C++ libraries write to file descriptor 2, unless TF_CPP_MIN_LOG_LEVEL is set to show it.

    TensorFlow writes to it before it reads this level.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        yield
        return
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def _exit_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
