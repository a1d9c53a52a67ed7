"""The mapped files in which the workers count, so that a full disk ends no worker.

A page of a mapped file that has no block on the disk yet is written into memory first. If the disk is full then, the
system ends the process (SIGBUS). Every file is therefore given its blocks when it is created.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SIZE = 256 * 1024  # far more than the metrics of an endpoint need
ENDED = "ended"  # in place of a pid: the counts of all workers that have ended
READ_TRIES = 5

log = logging.getLogger("mlctl.serving")


class ReservedDict(MmapedDict):  # type: ignore[misc]
    """prometheus_client's mapped file, but with blocks on the disk for all that it can hold."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode:
            reserve_file(Path(filename), SIZE)
        super().__init__(filename, read_mode)

    def _init_value(self, key: str) -> None:
        entry_size = len(key.encode()) + 32
        if self._used + entry_size > self._capacity:
            reserve_file(Path(self._fname), 2 * self._capacity)
        super()._init_value(key)


class SharedCollector(MultiProcessCollector):  # type: ignore[misc]
    """prometheus_client's collector, for which a file may disappear while it reads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)

    def collect(self) -> Any:
        """Return the metrics of all workers."""
        for _ in range(READ_TRIES):
            with contextlib.suppress(FileNotFoundError):  # a worker ended, and its counts were merged
                return super().collect()
        return super().collect()


def reserve_file(file: Path, size: int) -> None:
    """Create a file of at least this size that has all its blocks. Raises OSError if the disk is full."""
    with file.open("a+b") as stream:
        missing = size - stream.seek(0, os.SEEK_END)
        if missing <= 0:
            return
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), size - missing, missing)
        else:
            stream.write(bytes(missing))


def reserve() -> None:
    """Let prometheus_client use reserved files; if the disk is full, let this worker count for itself alone.

    Call it before the first metric is created.
    """
    folder = os.environ.get(VARIABLE)
    if folder is None:
        return
    values.MmapedDict = ReservedDict
    try:
        for kind in ("counter", "histogram", "gauge_livesum", "gauge_livemax"):
            reserve_file(Path(folder) / f"{kind}_{os.getpid()}.db", SIZE)
    except OSError as exc:
        log.warning("the metrics of worker %s cannot be shared: %s", os.getpid(), exc.strerror)
        remove_files(Path(folder), os.getpid())
        del os.environ[VARIABLE]
        values.ValueClass = values.MutexValue


def merge_ended(folder: Path, pid: int) -> None:
    """Add the counts of a worker that has ended to those of the others that have, and remove its files."""
    for kind in ("counter", "histogram"):
        file, sums_file = folder / f"{kind}_{pid}.db", folder / f"{kind}_{ENDED}.db"
        with contextlib.suppress(OSError, RuntimeError):
            counted = list(MmapedDict.read_all_values_from_file(str(file)))
            sums: Any = ReservedDict(str(sums_file))
            for key, value, _, _ in counted:
                sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
            sums.close()
            file.unlink()
    remove_files(folder, pid)


def remove_files(folder: Path, pid: int | str) -> None:
    """Remove the files of a worker."""
    for file in folder.glob(f"*_{pid}.db"):
        file.unlink(missing_ok=True)
