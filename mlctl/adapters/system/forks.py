"""Forked processes that die with the process that forked them."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable

from mlctl.machine import die_with_parent


def fork(work: Callable[[], None]) -> int:
    """Fork a child that runs `work` and exits; return its pid. The child ignores Ctrl-C and dies with this process."""
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is about the threads of BLAS, which can fork
        pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the search handles it, and ends its workers
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with_parent(parent)
        work()
    finally:
        os._exit(0)


def wait_for(pid: int) -> int:
    """Wait for a child to end; return its exit status, 0 if it is no child of this process."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0


def describe_exit(status: int) -> str:
    """Return in brackets how a process ended, by its exit status; "" if it ended by itself without an error."""
    if status < 0:
        return f" ({signal.Signals(-status).name})"
    return f" (exit code {status})" if status else ""
