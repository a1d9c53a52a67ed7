"""A search's record: every ask, epoch and end, one per line, from which the whole search can be restored.

{"kind": "search", …}                            the request; the first line
{"kind": "sitting", "at"}                        a process starts or resumes the search
{"kind": "ask", "trial", "values", "told": n}    asked when the oracle knew the results of n trials
{"kind": "start", "trial", "attempt"}
{"kind": "epoch", "trial", "attempt", "execution", "number", "metrics", "seconds", "at"}
{"kind": "lost", "trial", "attempt", "why"}
{"kind": "end", "trial", "state", "score", "why", "seconds", "at"}
{"kind": "more", "trials"}                       the search was resumed with more trials
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlctl.adapters.runlog.json_lines import Entry, JsonLines, read_lines

NAME = "search.jsonl"
NOT_DURABLE = "epoch"  # if the machine loses power, the epoch is trained again


class SearchJournal:
    """The journal of one search, open for writing. The lock of the run's record keeps other processes away."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lines = JsonLines(folder / NAME)

    def add(self, kind: str, **values: Any) -> None:
        """Write an entry; unless it is an epoch's, it survives a crash of the machine when this returns."""
        self._lines.append({"kind": kind, **values}, durable=kind != NOT_DURABLE)

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield a journal's entries without a torn last line; raises BadDataError for any other damage."""
    return read_lines(path, hint="restore the file from a copy, or start a new search")


def spent_s(entries: Iterable[Entry]) -> float:
    """Return the duration of a search: of each of its sessions, from the start to the last entry with a time."""
    total = session_start = last = 0
    for entry in entries:
        at = entry.get("at", last)
        if entry["kind"] == "sitting" or not session_start:
            total += last - session_start
            session_start = last = at
        last = max(last, at)
    return (total + last - session_start) / 1000
