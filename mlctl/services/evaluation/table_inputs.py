"""Read a table in batches of checked columns, as the training reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables import arrow_batches, arrow_cells, convert_cells, read_cells, reader
from mlctl.data.tables.column_names import match_names
from mlctl.data.tables.dialect import detect_dialect
from mlctl.domain.column_reading import NUMBER
from mlctl.domain.progress import ProgressListener
from mlctl.errors import BadDataError
from mlctl.services.evaluation.cell_report import MISSING, NEW, UNREAD, CellReport
from mlctl.services.evaluation.predictor import PredictorInfo, Rows
from mlctl.serving.payloads import tables
from mlctl.serving.payloads.named_tensors import tensors_from_columns
from mlctl.serving.payloads.signature import SIMPLE_TYPES, ModelSignature

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

# a model that cannot take missing values
FILE_RULES = tables.TableRules(extra=False, gaps=frozenset())
RULES_WITH_GAPS = tables.TableRules(extra=False, gaps=frozenset(SIMPLE_TYPES))
Report = Callable[[tuple[str, ...]], None]  # of the columns of a file
TableBatch = tuple[
    int, Callable[[], Rows]
]  # number of rows, and what reads them; it may run in another thread


def read_table(
    info: PredictorInfo, file: Path, *, size: int, listener: ProgressListener
) -> Iterator[TableBatch]:
    """Yield a table in batches of at most `size` rows, read as training read its own.

    The listener gets a message about columns that the model does not take, and about cells that were no such values as
    in training. Raises BadDataError and, also when a batch is read, RequestError.
    """
    signature = info.signature.as_table or info.signature
    if signature.tensors:
        raise BadDataError(
            f"{file}: a row of this model's inputs is more than a table can hold",
            "pass an .npz file with an array for each input, or JSON",
        )
    cells = CellReport(file.name, signature.names, listener)
    reading = _FileReading(info, signature, cells)
    report = cache(partial(_report_names, signature, file, listener, cells))
    done = 0
    try:
        for count, load in _arrow_table(reading, file, size=size, report=report):
            yield count, _as_model_input(info, load)
            done += count
    except arrow_batches.OnlyPandasError:
        for count, load in _pandas_table(
            reading, file, size=size, skip=done, report=report, listener=listener
        ):
            yield count, _as_model_input(info, load)
    cells.end_batch()


class _FileReading:
    """How the columns of a file become those of a model."""

    def __init__(self, info: PredictorInfo, signature: ModelSignature, report: CellReport) -> None:
        self.signature = signature
        self.readings = {name: info.readings[name] for name in signature.names if name in info.readings}
        self._rules = RULES_WITH_GAPS if info.takes_gaps else FILE_RULES
        self._specs = {column.name: column for column in signature.columns}
        self._takes_texts = info.takes_texts
        self._report = report

    def model_names(self, names: Sequence[str]) -> dict[str, str]:
        """Return the model's name of each column that the file has in another case; the report names them."""
        found = match_names(names, self.signature.names)
        self._report.renames(found)
        return found

    @property
    def text_columns(self) -> list[str]:
        """Columns whose cells must come as they are written."""
        return [
            column.name
            for column in self.signature.columns
            if (
                column.kind == "string"
                if column.name not in self.readings
                else self._needs_texts(column.name)
            )
        ]

    def _needs_texts(self, name: str) -> bool:
        reading = self.readings[name]
        return reading.kind != NUMBER or reading.decimal != "."

    def from_arrow(
        self, names: Sequence[str], batch: pyarrow.RecordBatch, *, first_row: int, from_text: bool
    ) -> Callable[[], tables.Columns]:
        """Return what reads the columns of an Arrow batch."""

        def read(name: str, column: pyarrow.Array) -> Any:
            if (reading := self.readings.get(name)) is not None:
                return self._noted(name, read_cells.read_arrow(column, reading), first_row)
            spec = self._specs[name]
            cells = arrow_cells.to_cells(column, spec.kind, required=spec.required, from_text=from_text)
            return self._filled(name, cells, first_row)

        def load() -> dict[str, Any]:
            return {name: read(name, column) for name, column in zip(names, batch.columns, strict=True)}

        return self._checked(load, first_row)

    def from_frame(self, frame: pd.DataFrame, *, first_row: int) -> Callable[[], tables.Columns]:
        """Return what reads the columns of a DataFrame."""

        def read(name: str) -> Any:
            if (reading := self.readings.get(name)) is not None:
                return self._noted(name, read_cells.read_series(frame[name], reading), first_row)
            spec = self._specs[name]
            values = convert_cells.cast_to_signature(frame[name], spec.kind, required=spec.required)
            return self._filled(name, to_lists({name: values})[name], first_row)

        def load() -> dict[str, Any]:
            return {name: read(name) for name in map(str, frame) if name in self._specs}

        return self._checked(load, first_row)

    def _filled(self, name: str, cells: arrow_cells.Cells, first_row: int) -> arrow_cells.Cells:
        """Return cells, of a model of texts with an empty text in place of each missing one, which is noted."""
        if not self._takes_texts:
            return cells
        is_gap = np.array([cell is None for cell in cells], bool)
        if not is_gap.any():
            return cells
        self._report.add(MISSING, name, is_gap, first_row)
        return ["" if cell is None else cell for cell in cells]

    def _noted(self, name: str, column: read_cells.ReadColumn, first_row: int) -> Any:
        """Note cells that are no values as in training, and return the values."""
        if column.is_unread is not None:
            self._report.add(UNREAD, name, column.is_unread, first_row, column.cells)
        if column.is_new is not None:
            self._report.add(NEW, name, column.is_new, first_row, column.cells)
        if self._specs[name].required and self._rules is RULES_WITH_GAPS:
            is_gap = (
                np.isnan(column.values)
                if column.values.dtype.kind == "f"
                else column.values == np.array(None)
            )
            is_gap = is_gap if column.is_unread is None else is_gap & ~column.is_unread
            if is_gap.any():
                self._report.add(MISSING, name, is_gap, first_row)
        return column.values

    def _checked(self, load: Callable[[], dict[str, Any]], first_row: int) -> Callable[[], tables.Columns]:
        self._report.start_batch()

        def load_checked() -> tables.Columns:
            columns = tables.check_columns(load(), self.signature, first_row + 1, self._rules)
            self._report.end_batch()
            return columns

        return load_checked


def to_lists(table: Mapping[str, pd.Series[Any]] | pd.DataFrame) -> dict[str, list[Any]]:
    """Return the cells of each column, None for a missing value."""
    return {
        str(name): [None if gap else value for value, gap in zip(values.tolist(), values.isna(), strict=True)]
        for name, values in table.items()
    }


def _as_model_input(info: PredictorInfo, load: Callable[[], tables.Columns]) -> Callable[[], Rows]:
    if not info.signature.tensors:
        return load
    return lambda: tensors_from_columns(load(), info.signature)


def _arrow_table(
    reading: _FileReading, file: Path, *, size: int, report: Report
) -> Iterator[tuple[int, Callable[[], tables.Columns]]]:
    """Yield a table that Arrow reads; raise OnlyPandasError for any other, or in the middle of one."""
    signature = reading.signature
    if not signature.columns:
        raise arrow_batches.OnlyPandasError
    is_text = reader.is_delimited(file)
    if is_text:
        dialect = detect_dialect(file, known_names=signature.names)
        if not arrow_batches.is_plain(file, dialect):
            raise arrow_batches.OnlyPandasError
        raw_names = arrow_batches.csv_names(file, dialect)
        if len(raw_names) == 1:  # an empty line may be a row
            raise arrow_batches.OnlyPandasError
    elif reader.is_parquet(file):
        raw_names = arrow_batches.parquet_names(file)
    else:
        raise arrow_batches.OnlyPandasError
    by_name = {name.strip() or f"Unnamed: {place}": name for place, name in enumerate(raw_names)}
    renamed = reading.model_names(list(by_name))
    by_name = {renamed.get(name, name): raw for name, raw in by_name.items()}
    names = [name for name in signature.names if name in by_name]
    report(tuple(by_name))
    wanted = [by_name[name] for name in names]
    if is_text:
        batches = arrow_batches.csv_batches(file, dialect, names=wanted, rows=size)
    else:
        batches = arrow_batches.parquet_batches(file, names=wanted, rows=size)
    row = 0
    for batch in batches:
        yield batch.num_rows, reading.from_arrow(names, batch, first_row=row, from_text=is_text)
        row += batch.num_rows


def _pandas_table(
    reading: _FileReading,
    file: Path,
    *,
    size: int,
    skip: int,
    report: Report,
    listener: ProgressListener,
) -> Iterator[tuple[int, Callable[[], tables.Columns]]]:
    signature = reading.signature
    row = 0
    for frame in reader.read_batches(
        file,
        size,
        known_names=signature.names,
        text_columns=reading.text_columns,
        on_note=lambda note: listener.message(f"{file.name}: {note}"),
    ):
        frame = frame.rename(columns=reading.model_names(list(map(str, frame))))
        if not row and signature.columns:
            report(tuple(map(str, frame)))
        first_row, row = row, row + len(frame)
        if row <= skip:
            continue
        kept = frame.iloc[max(0, skip - first_row) :]
        first_row = max(skip, first_row)
        if signature.columns:
            yield len(kept), reading.from_frame(kept, first_row=first_row)
        else:  # of an endpoint that does not describe its input
            yield len(kept), partial(to_lists, kept)  # type: ignore[misc]


def _report_names(
    signature: ModelSignature,
    file: Path,
    listener: ProgressListener,
    cells: CellReport,
    names: tuple[str, ...],
) -> None:
    """Tell the listener which columns the model does not take; raise RequestError if it takes none of them."""
    unused = [name for name in names if name not in signature.names]
    if len(unused) == len(names):  # it is another table
        tables.check_names(names, signature, FILE_RULES)
    cells.lacks([column.name for column in signature.columns if column.name not in names])
    if unused:
        listener.message(
            f"{file.name}: left out, because the model does not take them: {', '.join(unused[:12])}"
        )
