"""The request log: some of the requests with their answers, in Parquet files in the endpoint's folder.

Each worker samples its own requests. Answers never wait for the log: an observer puts a request into a short queue,
from which a thread writes a file every few seconds; if the queue is full, the request is not logged. A file is
complete when it gets its name, so that a killed worker leaves no broken ones. Small files are joined later, and the
oldest files are removed if all together become too large.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.files import atomic_writer
from mlctl.serving.invocations import Exchange
from mlctl.serving.traffic.log_tables import MAX_TEXT, LoggedRequest, as_arrays, to_tables

WRITE_EVERY_S = 5.0
MAX_WAITING, MAX_WAITING_BYTES = 5_000, 32_000_000
MAX_ROWS, MAX_REQUEST_BYTES = 100, 4_000_000  # that are logged of one request; rows are chosen at random
PART_S = 600  # after which the part of a file that a killed worker left is removed
MAX_LOG_BYTES, MAX_FILES = 500_000_000, 5_000
JOINED_FILES = 60  # small files that become one
SWITCH_S = (
    0.0005  # that a thread keeps the interpreter; with Python's 0.005 s an answer would wait for the log
)
PATTERN = "requests-*.parquet"

log = logging.getLogger("mlctl.serving")


class RequestLog:
    """The log of one worker.

    Attributes:
        dropped: Number of requests that were chosen, but not logged, because the queue was full.
    """

    def __init__(
        self, folder: Path, share: float, redacted: Sequence[str] = (), *, max_bytes: int = MAX_LOG_BYTES
    ) -> None:
        """Create a log, and start its thread.

        Args:
            folder: Folder of the files; it is created.
            share: Share of the requests to log, 0 to 1.
            redacted: Input columns that are not logged.
            max_bytes: Size of all files of the endpoint after which the oldest are removed.
        """
        import pyarrow.parquet  # noqa: F401  # before requests arrive, because it takes a moment

        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.dropped = 0
        self._folder = folder
        self._share = share
        self._redacted = frozenset(redacted)
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[float, Exchange]] = deque()
        self._waiting_bytes = 0
        self._numbers = itertools.count()
        self._small: list[Path] = []
        self._random = random.Random()  # noqa: S311 - no secret
        self._closing = threading.Event()
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name="mlctl-request-log", daemon=True)
        self._thread.start()

    def observe(self, exchange: Exchange) -> None:
        """Take a request into the queue, if it is chosen and there is room."""
        if self._random.random() >= self._share:
            return
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            self.dropped += 1
            return
        self._waiting_bytes += len(exchange.body) + len(exchange.answered.body)
        self._waiting.append((time.time(), exchange))

    def close(self) -> None:
        """Write what is waiting, and end the thread."""
        self._closing.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        sys.setswitchinterval(SWITCH_S)
        with contextlib.suppress(OSError, AttributeError):  # this thread alone, where the system allows it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        is_closing = False
        while not is_closing:
            is_closing = self._closing.wait(WRITE_EVERY_S)
            try:
                self._write()
                self._has_failed = False
            except Exception as error:  # a full disk must not end the log for good
                if not self._has_failed:
                    log.warning("requests are not logged: %s", error)
                self._has_failed = True

    def _write(self) -> None:
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        self._waiting_bytes = 0
        if not waiting:
            return
        for table in to_tables([self._to_logged(*entry) for entry in waiting]):
            self._small.append(self._write_table(table))
        if len(self._small) >= JOINED_FILES:
            self._join_small_files()
        self._remove_oldest()

    def _to_logged(self, moment: float, exchange: Exchange) -> LoggedRequest:
        answered = exchange.answered
        inputs, answers = as_arrays(answered.inputs), as_arrays(answered.answers)
        lengths = {len(array) for array in (*inputs.values(), *answers.values())}
        texts = None
        if not inputs or len(lengths) != 1:  # only MLflow could read it, or answers are no rows
            count, inputs, answers = 1, {}, {}
            texts = ("" if self._redacted else _text(exchange.body), _text(answered.body))
        else:
            count = lengths.pop()
        size = sum(part.nbytes for part in (*inputs.values(), *answers.values()))
        limit = min(MAX_ROWS, max(1, MAX_REQUEST_BYTES * count // max(1, size)))
        places = np.arange(count)
        if count > limit:
            places = np.sort(self._random.sample(range(count), limit))
        return LoggedRequest(
            request_id=exchange.request_id,
            places=places,
            rows=max(1, answered.rows),
            time=moment,
            version=exchange.version,
            seconds=answered.seconds,
            status=200,
            inputs={name: part[places] for name, part in inputs.items() if name not in self._redacted},
            answers={name: part[places] for name, part in answers.items()},
            texts=texts,
        )

    def _write_table(self, table: Any) -> Path:
        import pyarrow.parquet as pq

        now = time.time()
        stamp = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}.{int(now % 1 * 1000):03}"
        path = self._folder / f"requests-{stamp}-{os.getpid()}-{next(self._numbers)}.parquet"
        with atomic_writer(path, mode=0o600) as file:
            pq.write_table(table, file, compression="zstd")
        return path

    def _join_small_files(self) -> None:
        """Join this worker's small files, those of the same columns each. A row may be in two files for a moment."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        groups: dict[str, list[tuple[Path, Any]]] = {}
        for path in self._small:
            with contextlib.suppress(OSError):  # it was removed to save space
                table = pq.ParquetFile(path).read()
                groups.setdefault(str(table.schema), []).append((path, table))
        self._small = []
        for group in groups.values():
            if len(group) > 1:
                self._write_table(pa.concat_tables([table for _, table in group]))
                for path, _ in group:
                    path.unlink(missing_ok=True)

    def _remove_oldest(self) -> None:
        files = log_files(self._folder)
        sizes = []
        for path in files:
            with contextlib.suppress(OSError):
                sizes.append((path, path.stat().st_size))
        total = sum(size for _, size in sizes)
        for number, (path, size) in enumerate(sizes):
            if total <= self._max_bytes and len(sizes) - number <= MAX_FILES:
                break
            path.unlink(missing_ok=True)
            total -= size
        for part in self._folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > PART_S:
                    part.unlink()


def log_files(folder: Path) -> list[Path]:
    """Return the files of a log, the oldest first."""
    return sorted(folder.glob(PATTERN), key=lambda path: path.name)


def _text(body: bytes) -> str:
    return body[:MAX_TEXT].decode("utf-8", "replace")
