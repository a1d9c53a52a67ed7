"""Dying with one's parent, and talking to the log."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """End this process when its parent ends, however that happens.

    Linux does it in the kernel. Elsewhere a thread looks once a second whether the parent is still there.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it was gone before anyone watched
        os._exit(1)


def say(level: str, text: str) -> None:
    """Write one line to the log, which is this process's stderr."""
    stamp = time.strftime("%Y/%m/%d %H:%M:%S")
    print(f"{stamp} {level} [{os.getpid()}] {text}", file=sys.stderr, flush=True)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
