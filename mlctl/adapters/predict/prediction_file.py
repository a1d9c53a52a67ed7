"""A file of answers that grows by batches, and can be gone on with after any interruption.

A CSV grows as FILE.part beside FILE.job, which says what it is made from, and gets its name when it is whole; a
line that was cut off is taken back. A Parquet data set is a folder of parts, each named after its first and
last row and written all or nothing; its job is noted in it until it is whole.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow
import pyarrow.parquet

from mlctl.errors import RefusedError, UsageError

JOB = "_job.json"  # Parquet readers leave files with an underscore out


class BatchFile(Protocol):
    """`rows` counts what is in it already."""

    rows: int

    def write(self, first: int, columns: Mapping[str, Sequence[Any]]) -> None:
        """Add rows, the first of which has this number."""

    def finish(self) -> None:
        """Say that it is whole."""


@contextmanager
def opened(file: Path, job: dict[str, Any]) -> Iterator[BatchFile]:
    """Open a file of answers to begin or to go on; raises RefusedError where another job's is in its place."""
    suffix = file.suffix.lower()
    if suffix not in {".csv", ".parquet"}:
        raise UsageError(f"{file} is neither CSV nor Parquet", "--out answers.csv, or --out answers.parquet")
    if suffix == ".parquet":
        yield _Parquet(file, job)
        return
    found = _Csv(file, job)
    with contextlib.closing(found.output):
        yield found


class _Csv:
    def __init__(self, file: Path, job: dict[str, Any]) -> None:
        self._file, self._part, self._job = file, Path(f"{file}.part"), Path(f"{file}.job")
        if file.exists():
            raise RefusedError(f"{file} is there already", "take another name, or take it away")
        if self._part.exists():
            _same(self._job, job, self._part)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._job.write_text(json.dumps(job), encoding="utf-8")
        self.output = open(self._part, "a+b")  # noqa: SIM115 - closed by opened()
        whole = _whole_lines(self.output)
        self.rows = max(0, whole - 1)

    def write(self, first: int, columns: Mapping[str, Sequence[Any]]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if self.output.seek(0, os.SEEK_END) == 0:
            writer.writerow(["row", *columns])
        for number, values in enumerate(zip(*columns.values(), strict=True), first):
            writer.writerow([number, *(repr(one) if isinstance(one, float) else one for one in values)])
        self.output.write(text.getvalue().encode())
        self.output.flush()

    def finish(self) -> None:
        os.fsync(self.output.fileno())
        self._part.replace(self._file)
        self._job.unlink(missing_ok=True)


class _Parquet:
    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self._folder, self._job = folder, folder / JOB
        if folder.exists():
            if not folder.is_dir() or not self._job.exists():
                raise RefusedError(f"{folder} is there already", "take another name, or take it away")
            _same(self._job, job, folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._job.write_text(json.dumps(job), encoding="utf-8")
        self.rows = 0
        for part in sorted(folder.glob("part-*.parquet")):
            first, last = map(int, part.stem.split("-")[1:])
            if first != self.rows:
                part.unlink()  # behind a gap: it is made again
                continue
            self.rows = last

    def write(self, first: int, columns: Mapping[str, Sequence[Any]]) -> None:
        count = len(next(iter(columns.values())))
        table = pyarrow.table({"row": range(first, first + count), **columns})
        whole = self._folder / f"part-{first:012}-{first + count:012}.parquet"
        part = whole.with_suffix(".writing")
        pyarrow.parquet.write_table(table, part)
        part.replace(whole)

    def finish(self) -> None:
        self._job.unlink()


def _same(noted: Path, job: dict[str, Any], place: Path) -> None:
    try:
        before = json.loads(noted.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    if before != job:
        raise RefusedError(
            f"{place} was begun with another model, version, input or batch size",
            "take it away, or another name",
        )


def _whole_lines(file: io.BufferedRandom) -> int:
    """Return how many lines are whole, having cut off what follows them."""
    file.seek(0)
    lines = end = 0
    while chunk := file.read(1 << 20):
        if (last := chunk.rfind(b"\n")) >= 0:
            lines += chunk.count(b"\n")
            end = file.tell() - len(chunk) + last + 1
    file.truncate(end)
    return lines
