"""Files of predictions that are written in batches, and can be continued after an interruption.

A .npy or .npz file holds a model's whole answers, and cannot be continued.

A CSV file is written as FILE.part. FILE.job beside it records the job. The file gets its name when it is
complete; an incomplete last line is removed. A Parquet data set is a folder of parts: see `prediction_parts`.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from mlctl.adapters.predict.prediction_job import OTHER_FILE_HINT, check_job
from mlctl.adapters.predict.prediction_parts import PredictionParts, to_table
from mlctl.errors import BadDataError, RefusedError, UsageError

CHUNK_BYTES = 1 << 20


class PredictionWriter(Protocol):
    """A file that is being written.

    Attributes:
        rows: Number of rows in it.
        takes_arrays: It takes the model's answers as arrays by output name, not columns of cells.
    """

    rows: int
    takes_arrays: bool

    def write(self, first: int, columns: Mapping[str, Any]) -> None:
        """Append rows; `first` is the number of the first one."""

    def finish(self) -> None:
        """Mark the file as complete."""


@contextmanager
def open_prediction_file(file: Path, job: dict[str, Any]) -> Iterator[PredictionWriter]:
    """Open a file of predictions to start or to continue it.

    Raises RefusedError if the file is complete, or if it was started by another job.
    """
    suffix = file.suffix.lower()
    if suffix not in {".csv", ".parquet", ".npy", ".npz"}:
        raise UsageError(
            f"{file} is neither CSV nor Parquet nor an array file",
            "use --out answers.csv, answers.parquet, answers.npy or answers.npz",
        )
    if suffix in {".npy", ".npz"}:
        with contextlib.closing(_Arrays(file)) as arrays:
            yield arrays
        return
    if suffix == ".parquet":
        with contextlib.closing(PredictionParts(file, job)) as parts:
            yield parts
        return
    csv_file = _Csv(file, job)
    with contextlib.closing(csv_file.output):
        yield csv_file


class _Csv:
    takes_arrays = False

    def __init__(self, file: Path, job: dict[str, Any]) -> None:
        self._file, self._part, self._job_file = file, Path(f"{file}.part"), Path(f"{file}.job")
        if file.exists():
            raise RefusedError(f"{file} already exists", OTHER_FILE_HINT)
        if self._part.exists():
            check_job(self._job_file, job, self._part)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._job_file.write_text(json.dumps(job), encoding="utf-8")
        self.output = open(self._part, "a+b")  # noqa: SIM115 - closed by open_prediction_file()
        self.rows = max(0, _keep_complete_lines(self.output) - 1)  # without the header

    def write(self, first: int, columns: Mapping[str, Any]) -> None:
        from pyarrow import csv as arrow_csv  # most answers are not written to a file

        content = io.BytesIO()
        if self.output.seek(0, os.SEEK_END) == 0:
            header = io.StringIO()
            csv.writer(header, lineterminator="\n").writerow(["row", *columns])
            content.write(header.getvalue().encode())
        if all(isinstance(cells, np.ndarray) for cells in columns.values()):
            options = arrow_csv.WriteOptions(include_header=False, quoting_style="needed")
            arrow_csv.write_csv(to_table(first, columns), content, options)
        else:
            content.write(_format_rows(first, columns).encode())
        self.output.write(content.getbuffer())
        self.output.flush()

    def finish(self) -> None:
        os.fsync(self.output.fileno())
        self._part.replace(self._file)
        self._job_file.unlink(missing_ok=True)


class _Arrays:
    """Writes each output's array to a file of its own first, so that memory holds one batch only."""

    takes_arrays = True

    def __init__(self, file: Path) -> None:
        if file.exists():
            raise RefusedError(f"{file} already exists", OTHER_FILE_HINT)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self._parts = Path(tempfile.mkdtemp(prefix=f".{file.name}-", dir=file.parent))
        self._outputs: dict[str, tuple[IO[bytes], np.dtype[Any], tuple[int, ...]]] = {}
        self.rows = 0

    def write(self, first: int, columns: Mapping[str, Any]) -> None:
        for name, answers in columns.items():
            array = np.asarray(answers)
            if name not in self._outputs:
                file: IO[bytes] = open(self._parts / str(len(self._outputs)), "w+b")  # noqa: SIM115 - closed by close()
                self._outputs[name] = (file, array.dtype, array.shape[1:])
            part, dtype, shape = self._outputs[name]
            if array.dtype == object or array.shape[1:] != shape:
                raise BadDataError(
                    f"the answers to different rows have different shapes, which {self._file.name} cannot hold",
                    "use --out answers.parquet",
                )
            part.write(np.ascontiguousarray(array, dtype).tobytes())
        self.rows += len(next(iter(columns.values())))

    def finish(self) -> None:
        if not self._outputs:
            raise BadDataError("the input has no rows", "check the input")
        if self._file.suffix.lower() == ".npy" and len(self._outputs) > 1:
            raise UsageError(
                f"{self._file} can hold one array, and the model has the outputs {', '.join(self._outputs)}",
                "use --out answers.npz",
            )
        complete = self._parts / "complete"
        if self._file.suffix.lower() == ".npy":
            with complete.open("wb") as target:
                self._copy_array(next(iter(self._outputs)), target)
        else:
            with zipfile.ZipFile(complete, "w", zipfile.ZIP_DEFLATED) as archive:
                for name in self._outputs:
                    with archive.open(f"{name or 'predictions'}.npy", "w", force_zip64=True) as target:
                        self._copy_array(name, target)
        complete.replace(self._file)

    def close(self) -> None:
        """Remove the parts."""
        for part, _, _ in self._outputs.values():
            part.close()
        shutil.rmtree(self._parts, ignore_errors=True)

    def _copy_array(self, name: str, target: IO[bytes]) -> None:
        part, dtype, shape = self._outputs[name]
        header = {"descr": dtype.str, "fortran_order": False, "shape": (self.rows, *shape)}
        np.lib.format.write_array_header_1_0(target, header)
        part.seek(0)
        shutil.copyfileobj(part, target, CHUNK_BYTES)


def _format_rows(first: int, columns: Mapping[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, values in enumerate(zip(*columns.values(), strict=True), first):
        writer.writerow([number, *(repr(value) if isinstance(value, float) else value for value in values)])
    return text.getvalue()


def _keep_complete_lines(file: io.BufferedRandom) -> int:
    """Remove an incomplete last line; return the number of complete lines."""
    file.seek(0)
    lines = end = 0
    while chunk := file.read(CHUNK_BYTES):
        if (last := chunk.rfind(b"\n")) >= 0:
            lines += chunk.count(b"\n")
            end = file.tell() - len(chunk) + last + 1
    file.truncate(end)
    return lines
