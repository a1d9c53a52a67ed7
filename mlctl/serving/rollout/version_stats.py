"""Counts of the requests to each version, which all processes of an endpoint share.

Each process writes a small mapped file for each version that it sends requests to, and anyone adds the files up. That
costs a request a microsecond, and the supervisor can read the counts of thousands of requests twice a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from mlctl.domain.latency import BUCKETS, bucket_of
from mlctl.domain.version_counts import VersionCounts
from mlctl.serving.payloads.request_error import RequestError

NOT_COUNTED = -1  # status of a request whose client has gone
SERVING, CANDIDATE, SHADOW = "serving", "candidate", "shadow"
FOLDER = "versions"
ENDED = 0  # stands for all processes that have ended
FIELDS = ("answered", "refused", "errors", "in_flight", "dropped", "compared", "disagreed", "seconds")
SIZE = 8 * (len(FIELDS) + BUCKETS)
_ANSWERED, _REFUSED, _ERRORS, _IN_FLIGHT, _DROPPED, _COMPARED, _DISAGREED, _SECONDS = range(len(FIELDS))


class VersionStats:
    """Counts that one process makes of one version. Use it in one thread only."""

    def __init__(self, folder: Path | None, role: str, version: str) -> None:
        """Open the file of this process; without a folder, or if the disk is full, nobody else sees the counts."""
        self.role = role
        self.version = version
        self._values = _shared_values(folder, role, version) if folder else None
        if self._values is None:
            self._values = memoryview(array("d", bytes(SIZE)))

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Count the request that is answered in this block, its latency, and the error that it ends with."""
        self.add_in_flight(1)
        started = time.perf_counter()
        status = 200
        try:
            yield
        except RequestError as error:
            status = error.status
            raise
        except asyncio.CancelledError:
            status = NOT_COUNTED
            raise
        except BaseException:
            status = 500
            raise
        finally:
            self.add_in_flight(-1)
            self.record(status, time.perf_counter() - started)

    def record(self, status: int, seconds: float) -> None:
        """Count a request that was answered with this status, unless it is NOT_COUNTED."""
        values = self._values
        assert values is not None
        if status == NOT_COUNTED:
            return
        if 400 <= status < 500:
            values[_REFUSED] += 1
            return
        values[_ERRORS if status >= 500 else _ANSWERED] += 1
        values[_SECONDS] += seconds
        values[len(FIELDS) + bucket_of(seconds)] += 1

    def add_in_flight(self, number: int) -> None:
        """Count requests that begin, or that end if the number is negative."""
        self._add(_IN_FLIGHT, number)

    def refusal_was_error(self) -> None:
        """Count a refused request as failed, because the client was not wrong."""
        self._add(_REFUSED, -1)
        self._add(_ERRORS, 1)

    def count_dropped(self) -> None:
        """Count a copy that was not sent."""
        self._add(_DROPPED, 1)

    def count_comparison(self, disagreement: float) -> None:
        """Count a comparison; `disagreement` is the share of rows that differ."""
        self._add(_COMPARED, 1)
        self._add(_DISAGREED, disagreement)

    def counts(self) -> VersionCounts:
        """Return what this process has counted."""
        assert self._values is not None
        return _to_counts(self._values.tolist())

    def _add(self, index: int, number: float) -> None:
        assert self._values is not None
        self._values[index] += number


def read_counts(folder: Path) -> dict[tuple[str, str], VersionCounts]:
    """Return the counts of all processes by role and version."""
    counts: dict[tuple[str, str], VersionCounts] = {}
    for file, role, version, _ in _files(folder):
        with contextlib.suppress(OSError, ValueError):
            own = _to_counts(array("d", file.read_bytes()).tolist())
            counts[role, version] = counts[role, version] + own if (role, version) in counts else own
    return counts


def merge_ended(folder: Path, pid: int) -> None:
    """Add the counts of a process that has ended to those of the others that have, and remove its files."""
    for file, role, version, writer in list(_files(folder)):
        if writer != pid:
            continue
        values = array("d", file.read_bytes())
        values[_IN_FLIGHT] = 0
        if (sums := _shared_values(folder, role, version, pid=ENDED)) is not None:
            for index, value in enumerate(values):
                sums[index] += value
        file.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[Path, str, str, int]]:
    for file in (folder / FOLDER).glob("*.counts"):
        role, version, pid = file.stem.split("=")
        yield file, role, unquote(version), int(pid)


def _shared_values(folder: Path, role: str, version: str, *, pid: int | None = None) -> Any:
    name = f"{role}={quote(version, safe='')}={os.getpid() if pid is None else pid}.counts"
    try:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        with (folder / FOLDER / name).open("a+b") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, SIZE)  # a full disk later would end the process
            else:
                file.truncate(SIZE)
            return memoryview(mmap.mmap(file.fileno(), SIZE)).cast("d")
    except OSError:
        return None


def _to_counts(values: list[float]) -> VersionCounts:
    fields = dict(zip(FIELDS, values, strict=False))
    return VersionCounts(**fields, histogram=tuple(values[len(FIELDS) :]))
