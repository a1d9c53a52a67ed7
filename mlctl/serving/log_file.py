"""The log of an endpoint that runs in the background, which begins a new file at a certain size.

All processes of the endpoint write to the same file through stdout and stderr. The supervisor renames it, so that no
line is lost, and tells the others to open the new file.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

OLD_SUFFIX = ".1"  # of the one earlier file that is kept


class LogRotation:
    """Renames the log when it is larger than a limit."""

    def __init__(self, file: Path, max_size: int) -> None:
        self._file = file
        self._max_size = max_size

    def rotate_if_large(self) -> bool:
        """Return whether a new file was begun."""
        try:
            if self._file.stat().st_size < self._max_size:
                return False
            self._file.replace(self._file.with_name(self._file.name + OLD_SUFFIX))
        except OSError:
            return False
        return reopen_log(str(self._file))


def reopen_log(file: str) -> bool:
    """Let stdout and stderr write to a file from now on; return whether it can be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        return True
    return False
