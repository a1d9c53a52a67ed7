"""Append-only files with one JSON object per line."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlctl.errors import BadDataError
from mlctl.files import drop_torn_line

Entry = Mapping[str, Any]


class JsonLines:
    """A file that one process appends to, while others may read it. Opening it drops a torn last line."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        drop_torn_line(path)
        self._file = path.open("ab", buffering=0)

    def append(self, entry: Entry, *, durable: bool = True) -> None:
        """Write one line; a durable one survives a crash of the machine when this returns.

        Raises OSError if the line cannot be written; the file then contains no part of it.
        """
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            size = os.fstat(self._file.fileno()).st_size
            try:
                while line:
                    line = line[self._file.write(line) :]
                if durable:
                    os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(size)  # part of a line would corrupt the next one
                raise

    def close(self) -> None:
        """Close the file, if it is open."""
        self._file.close()


def read_lines(path: Path, start: int = 0, *, hint: str) -> Iterator[Entry]:
    """Yield the entries from number `start`; nothing if there is no file.

    A last line without a newline is left out: it is being written, or a crash cut it off. Raises BadDataError with
    `hint` for any other line that is damaged.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if not line.endswith(b"\n"):
                return
            if number < start:
                continue
            try:
                entry = json.loads(line)
                entry["kind"]
            except (ValueError, KeyError, TypeError):
                raise BadDataError(f"{path}, line {number + 1} is damaged", hint) from None
            yield entry
