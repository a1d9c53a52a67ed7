"""Real parts that tests run against, each on a free port and gone with the tests."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def eventually(true: Callable[[], bool], within_s: float = 30, every_s: float = 0.05) -> None:
    """Return as soon as it is true; fail where it is not in time."""
    until = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until, f"not within {within_s} s"
        time.sleep(every_s)
