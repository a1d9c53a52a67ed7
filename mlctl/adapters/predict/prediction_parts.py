"""A folder of Parquet parts that is written in batches, and can be continued after an interruption.

Each batch is appended to a spool file in Arrow's stream format. When the spool files hold enough for a part, they become
one. A part is named after its first and last row, and written completely or not at all. After a kill, the complete
batches of the spool files are kept. The folder records the job until it is complete.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.adapters.predict.prediction_job import OTHER_FILE_HINT, check_job
from mlctl.data.tables.arrow_arrays import number_array, text_array
from mlctl.errors import RefusedError
from mlctl.files import atomic_writer

if TYPE_CHECKING:
    import pyarrow

JOB_FILE = "_job.json"  # Parquet readers ignore files that begin with an underscore
PART_BYTES = 100_000_000
GROUP_ROWS = 1 << 17  # of a row group


class PredictionParts:
    """The folder. Its rows are those of the parts and of the spool files."""

    takes_arrays = False

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        """Start or continue a job. Raises RefusedError if the folder is complete, or of another job."""
        self._folder, self._job_file = folder, folder / JOB_FILE
        if folder.exists():
            if not folder.is_dir() or not self._job_file.exists():
                raise RefusedError(f"{folder} already exists", OTHER_FILE_HINT)
            check_job(self._job_file, job, folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._job_file.write_text(json.dumps(job), encoding="utf-8")
        self.rows = self._count_part_rows()
        self._part_start = self.rows
        self._spools: list[Path] = []
        self._spool_bytes = 0
        self._size_ratio = 0.5  # of a part to the spool files that it is made of, known after the first part
        self._stream: Any = None
        self._schema: pyarrow.Schema | None = None
        self._find_spools()

    def write(self, first: int, columns: Mapping[str, Any]) -> None:
        """Append rows; `first` is the number of the first one."""
        import pyarrow

        table = to_table(first, columns)
        if self._schema is not None and table.schema != self._schema:
            self._write_part()
        if self._stream is None:
            path = self._folder / f"_spool-{first:012}.arrows"
            self._file = pyarrow.OSFile(str(path), "wb")
            self._stream = pyarrow.ipc.new_stream(self._file, table.schema)
            self._schema = table.schema
            self._spools.append(path)
        self._stream.write_table(table)
        self.rows = first + table.num_rows
        if (self._spool_bytes + self._file.tell()) * self._size_ratio >= PART_BYTES:
            self._write_part()

    def finish(self) -> None:
        """Write the last part, and mark the folder as complete."""
        self._write_part()
        self._job_file.unlink()

    def close(self) -> None:
        """Close the open spool file."""
        if self._stream is not None:
            self._stream.close()
            self._file.close()
            self._stream = None

    def _count_part_rows(self) -> int:
        rows = 0
        for part in sorted(self._folder.glob("part-*.parquet")):
            first, last = map(int, part.stem.split("-")[1:])
            if first != rows:
                part.unlink()  # rows before it are missing: it is written again
                continue
            rows = last
        return rows

    def _find_spools(self) -> None:
        """Take over what an earlier call has spooled; the rows of older spool files are in parts."""
        for path in sorted(self._folder.glob("_spool-*.arrows")):
            batches = [(batch.num_rows, batch.schema) for batch in _read_spool(path)]
            is_next = int(path.stem.partition("-")[2]) == self.rows
            if not is_next or not batches or self._schema not in (None, batches[0][1]):
                path.unlink()
                continue
            self._schema = batches[0][1]
            self.rows += sum(rows for rows, _ in batches)
            self._spools.append(path)
            self._spool_bytes += path.stat().st_size

    def _write_part(self) -> None:
        """Turn the spool files into a part."""
        self.close()
        if not self._spools or self._schema is None:
            return
        path = self._folder / f"part-{self._part_start:012}-{self.rows:012}.parquet"
        # a fixed name: after a crash, the job that continues replaces the incomplete part
        with (
            atomic_writer(path, part=self._folder / "_part.writing") as file,
            open_writer(file, self._schema) as writer,
        ):
            for table in self._row_groups():
                writer.write_table(table, row_group_size=GROUP_ROWS)
        self._size_ratio = path.stat().st_size / max(1, sum(spool.stat().st_size for spool in self._spools))
        for spool in self._spools:
            spool.unlink()
        self._spools, self._spool_bytes, self._schema, self._part_start = [], 0, None, self.rows

    def _row_groups(self) -> Iterator[pyarrow.Table]:
        """Yield the spooled rows in tables of at least `GROUP_ROWS` rows; the last one may be smaller."""
        import pyarrow

        batches: list[pyarrow.RecordBatch] = []
        for spool in self._spools:
            for batch in _read_spool(spool):
                batches.append(batch)
                if sum(kept.num_rows for kept in batches) >= GROUP_ROWS:
                    yield pyarrow.Table.from_batches(batches)
                    batches = []
        if batches:
            yield pyarrow.Table.from_batches(batches)


def open_writer(file: Any, schema: pyarrow.Schema) -> Any:
    """Return a writer that builds dictionaries of texts only, and stores the numbers of rows as differences."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    texts = [field.name for field in schema if pyarrow.types.is_string(field.type)]
    return ParquetWriter(file, schema, use_dictionary=texts, column_encoding={"row": "DELTA_BINARY_PACKED"})


def to_table(first: int, columns: Mapping[str, Any]) -> pyarrow.Table:
    """Return columns of answers as an Arrow table, with the number of each row."""
    import pyarrow

    count = len(next(iter(columns.values())))
    arrays = [_to_array(cells) for cells in columns.values()]
    row_numbers = number_array(np.arange(first, first + count))
    return pyarrow.Table.from_arrays([row_numbers, *arrays], names=["row", *columns])


def _to_array(cells: Sequence[Any]) -> pyarrow.Array:
    import pyarrow

    if isinstance(cells, np.ndarray) and cells.dtype.kind in "biuf":
        return number_array(cells)
    if all(isinstance(cell, str) for cell in cells):
        return text_array(cells).cast(pyarrow.string())
    return pyarrow.array(list(cells))


def _read_spool(path: Path) -> Iterator[pyarrow.RecordBatch]:
    """Yield the complete batches of a spool file."""
    import pyarrow

    is_torn = (pyarrow.ArrowInvalid, OSError, StopIteration)  # a kill may tear the last one
    with (
        contextlib.suppress(*is_torn),
        pyarrow.memory_map(str(path)) as file,
        pyarrow.ipc.open_stream(file) as stream,
    ):
        while True:
            yield stream.read_next_batch()
