"""The server's log: lines on the stderr of this process."""

from __future__ import annotations

import os
import sys
import time


def log(level: str, text: str) -> None:
    """Write one line to the log."""
    stamp = time.strftime("%Y/%m/%d %H:%M:%S")
    print(f"{stamp} {level} [{os.getpid()}] {text}", file=sys.stderr, flush=True)
