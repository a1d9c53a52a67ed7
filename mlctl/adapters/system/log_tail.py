"""Reading the log of a background process: its last lines, and new lines as they are written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

POLL_INTERVAL_S = 0.2


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last lines of a log."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return text.splitlines()[-count:] if count else []


def follow(log: Path, is_alive: Callable[[], bool]) -> Iterator[str]:
    """Yield each line that is added to a log from now on, until its writer has ended."""
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(0, 2)
        line = ""
        while True:
            line += file.readline()
            if line.endswith("\n"):
                yield line.rstrip("\n")
                line = ""
            elif is_alive():
                time.sleep(POLL_INTERVAL_S)
            else:
                return
