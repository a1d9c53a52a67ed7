"""A search's own record: every ask, epoch and end, a line each, from which all else can be made again.

{"kind": "search", …}                            what was asked for; the first line
{"kind": "sitting", "at"}                        a process begins to search: the first, or one that resumes
{"kind": "ask", "trial", "values", "told": n}    asked when the oracle had been told of n ends
{"kind": "start", "trial", "attempt"}
{"kind": "epoch", "trial", "attempt", "execution", "number", "metrics", "seconds", "at"}
{"kind": "lost", "trial", "attempt", "why"}
{"kind": "end", "trial", "state", "score", "why", "seconds", "at"}
{"kind": "more", "trials"}                       the search was resumed with more trials
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlctl.errors import BadDataError

NAME = "search.jsonl"
UNSYNCED = "epoch"  # lost with the machine's power at worst, and trained again


class SearchJournal:
    """The journal of one search, open for writing by one process."""

    def __init__(self, folder: Path, name: str = NAME, synced: bool = True) -> None:
        """Open it, and drop a torn last line; the lock of the run's own record keeps other processes off.

        `synced` False leaves it to the system when its lines reach the disk: what is written can be made again.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / name
        self._synced = synced
        _drop_torn_line(self.path)
        self._file = self.path.open("ab")

    def add(self, kind: str, **entry: Any) -> dict[str, Any]:
        """Write an entry and return it; but for an epoch's, where `synced`, it survives a crash of the machine."""
        whole = {"kind": kind, **entry}
        self._file.write(json.dumps(whole, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        if self._synced and kind != UNSYNCED:
            os.fsync(self._file.fileno())
        return whole

    def close(self) -> None:
        """Close it; the record stays."""
        self._file.close()


def read(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield a journal's entries, but for a torn last line.

    Raises BadDataError that names the first line which is damaged otherwise.
    """
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last newline is nothing, or torn
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            entry["kind"]
        except (ValueError, KeyError, TypeError):
            raise BadDataError(
                f"{path}, line {number} is damaged", "put the file back from a copy, or begin a new search"
            ) from None
        yield entry


def spent_s(entries: Iterable[Mapping[str, Any]]) -> float:
    """Return how many seconds a search's sittings took, each from its beginning to what it noted last."""
    spent = started = last = 0
    for entry in entries:
        at = entry.get("at", last)
        if entry["kind"] == "sitting" or not started:
            spent += last - started
            started = last = at
        last = max(last, at)
    return (spent + last - started) / 1000


def _drop_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
