"""The audit log of a server: one line of JSON for each write, in a file that is only appended to.

The workers of a server share the file. When it is large, it gets the suffix `.1`, older ones count up, and the oldest
one is deleted.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlctl.tracking_server.log import log

MAX_BYTES = 20_000_000
OLD_FILES = 9
COMPLAINT_INTERVAL_S = 60.0
STDOUT = 1


class AuditLog:
    """Appends entries to the file.

    Args:
        path: The file, which is created with the first entry.
        max_bytes: Size at which a new file begins.
        to_stdout: Write each entry to stdout, too.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, *, to_stdout: bool = False) -> None:
        self._path, self._max_bytes, self._to_stdout = path, max_bytes, to_stdout
        self._complained_at = float("-inf")

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add an entry. If the file cannot be written, the server's log says so and the server goes on."""
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        # half a surrogate pair, which JSON can contain, has no UTF-8: it becomes a question mark
        line = text.encode(errors="replace") + b"\n"
        if self._to_stdout:
            with contextlib.suppress(OSError):
                os.write(STDOUT, line)
        try:
            self._append(line)
        except OSError as error:
            if time.monotonic() - self._complained_at > COMPLAINT_INTERVAL_S:
                self._complained_at = time.monotonic()
                log("ERROR", f"the audit log {self._path} cannot be written: {error.strerror}")

    def _append(self, line: bytes) -> None:
        while not self._try_to_append(line):
            pass

    def _try_to_append(self, line: bytes) -> bool:
        """Append a line; return False if the file was replaced by a new one meanwhile."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = self._current_size(descriptor)
            if size and size + len(line) > self._max_bytes:
                self._rotate()
                return False
            if size is not None:
                _write_line(descriptor, line, size)
            return size is not None
        finally:
            os.close(descriptor)  # which also releases the lock

    def _current_size(self, descriptor: int) -> int | None:
        """Return the size of the open file; None if another worker has begun a new one."""
        opened = os.fstat(descriptor)
        try:
            current = os.stat(self._path)
        except FileNotFoundError:
            return None
        return opened.st_size if opened.st_ino == current.st_ino else None

    def _rotate(self) -> None:
        for number in range(OLD_FILES, 0, -1):
            newer = self._path if number == 1 else old_file(self._path, number - 1)
            if newer.exists():
                newer.replace(old_file(self._path, number))


def _write_line(descriptor: int, line: bytes, size: int) -> None:
    """Write a line at the end of a file of this size; raise OSError if the disk is full, and leave no part of it."""
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line  # a crash has torn the last line
    if os.write(descriptor, line) < len(line):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def old_file(path: Path, number: int) -> Path:
    """Return the name of an older file of the log; 1 is the newest of them."""
    return path.with_name(f"{path.name}.{number}")
