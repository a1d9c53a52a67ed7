"""Reading the log of a process in the background: its end, and what it adds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

LOOK_EVERY_S = 0.2


def last_lines(log: Path, lines: int) -> list[str]:
    """Return the last lines of a log."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return text.splitlines()[-lines:] if lines else []


def added(log: Path, alive: Callable[[], bool]) -> Iterator[str]:
    """Yield each line that is added to a log from now on, until nobody is alive to add one."""
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(0, 2)
        part = ""
        while True:
            part += file.readline()
            if part.endswith("\n"):
                yield part.rstrip("\n")
                part = ""
            elif alive():
                time.sleep(LOOK_EVERY_S)
            else:
                return
