"""Reading the log of a background process: its last lines, and new lines as they are written.

A log may begin a new file when it is large; the file before has the suffix `.1` then.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

POLL_INTERVAL_S = 0.2
OLD_SUFFIX = ".1"


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last lines of a log."""
    if not count:
        return []
    lines = _lines(log)
    if len(lines) < count and (old := log.with_name(log.name + OLD_SUFFIX)).is_file():
        lines = _lines(old) + lines
    return lines[-count:]


def follow(log: Path, is_alive: Callable[[], bool]) -> Iterator[str]:
    """Yield each line that is added to a log from now on, until its writer has ended."""
    file = _open(log)
    try:
        file.seek(0, 2)
        line = ""
        while True:
            line += file.readline()
            if line.endswith("\n"):
                yield line.rstrip("\n")
                line = ""
            elif _is_replaced(file, log):
                if rest := file.readline():  # written before the new file was begun
                    line += rest
                    continue
                file.close()
                file = _open(log)
            elif is_alive():
                time.sleep(POLL_INTERVAL_S)
            else:
                return
    finally:
        file.close()


def _open(log: Path) -> TextIO:
    return log.open(encoding="utf-8", errors="replace")


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


def _is_replaced(file: TextIO, log: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.fstat(file.fileno()).st_ino != log.stat().st_ino
    return False
