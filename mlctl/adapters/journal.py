"""A run's own record on disk: every line is there before anything is sent, and is safe once written.

<state>/runs/<run id>/
    run.json        whose record this is: tracking URI, experiment, run
    journal.jsonl   one entry a line, in order; a torn last line is a crash's, and is dropped
    sent            how many entries the store has acknowledged
    files/          artifacts, as the run will show them
    model/          the model folder
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlctl.errors import BadDataError

Entry = Mapping[str, Any]


class Journal:
    """The record of one run, open for writing by one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.model = folder / "model"
        self._path = folder / "journal.jsonl"
        self._sent = folder / "sent"
        self.files.mkdir(parents=True, exist_ok=True)
        self._drop_torn_line()
        self._file = self._path.open("ab")

    def add(self, entry: Entry) -> None:
        """Write one entry; when this returns, it survives a crash of the machine."""
        self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Return the entries from number `start`; raises BadDataError for a damaged line that is not the last."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for number, line in enumerate(file):
                if number < start or not line.endswith(b"\n"):
                    continue
                try:
                    yield json.loads(line)
                except ValueError as exc:
                    raise BadDataError(
                        f"{self._path}, line {number + 1} is damaged", "keep it, and report it"
                    ) from exc

    @property
    def sent(self) -> int:
        """How many entries the store has acknowledged."""
        try:
            return int(self._sent.read_text() or 0)
        except (OSError, ValueError):
            return 0  # sending again is harmless: each entry says what it said before

    def acknowledge(self, count: int) -> None:
        """Note that the first `count` entries need not be sent again."""
        write_atomically(self._sent, str(count).encode())

    def close(self) -> None:
        """Close the file; the record stays."""
        self._file.close()

    def _drop_torn_line(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb+") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                file.truncate(whole)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file's content: a crash leaves the old or the new, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
