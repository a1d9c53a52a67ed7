"""What the supervisor says in the endpoint's log."""

from __future__ import annotations

import contextlib
import sys
import time


def log_event(text: str) -> None:
    """Write a line with the time to stderr, which is the endpoint's log; do nothing if the disk is full."""
    with contextlib.suppress(OSError):
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)
