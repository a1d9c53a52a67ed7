"""Read a table in batches of checked columns, as the training reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.data.tables import arrow_batches, arrow_cells, column_types, reader
from mlctl.data.tables.dialect import detect_dialect
from mlctl.domain.progress import ProgressListener
from mlctl.errors import BadDataError
from mlctl.services.evaluation.predictor import PredictorInfo, Rows
from mlctl.serving.payloads import tables
from mlctl.serving.payloads.named_tensors import tensors_from_columns
from mlctl.serving.payloads.signature import ModelSignature

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

# a file is corrected more easily than a client: a gap that training did not have is an error
FILE_RULES = tables.TableRules(extra=False, gaps=frozenset())
Report = Callable[[tuple[str, ...]], None]  # of the columns of a file
TableBatch = tuple[
    int, Callable[[], Rows]
]  # number of rows, and what reads them; it may run in another thread


def read_table(
    info: PredictorInfo, file: Path, *, size: int, listener: ProgressListener
) -> Iterator[TableBatch]:
    """Yield a table in batches of at most `size` rows.

    The listener gets a message about columns that the model does not take. Raises BadDataError and, also when a batch
    is read, RequestError.
    """
    signature = info.signature.as_table or info.signature
    if signature.tensors:
        raise BadDataError(
            f"{file}: a row of this model's inputs is more than a table can hold",
            "pass an .npz file with an array for each input, or JSON",
        )
    report = cache(partial(_report_unused, signature, file, listener))
    done = 0
    try:
        for count, load in _arrow_table(signature, file, size=size, report=report):
            yield count, _as_model_input(info, load)
            done += count
    except arrow_batches.OnlyPandasError:
        for count, load in _pandas_table(signature, file, size=size, skip=done, report=report):
            yield count, _as_model_input(info, load)


def columns_from_frame(
    signature: ModelSignature, frame: pd.DataFrame, *, first_row: int = 0
) -> tables.Columns:
    """Return the rows of a file from `first_row` on as checked columns."""
    kinds = {column.name: column for column in signature.columns}
    columns = {
        str(name): column_types.cast_to_signature(
            frame[name], kinds[str(name)].kind, required=kinds[str(name)].required
        )
        for name in frame
        if str(name) in kinds
    }
    return tables.check_columns(to_lists(columns), signature, first_row, FILE_RULES)


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
    signature: ModelSignature, file: Path, *, size: int, report: Report
) -> Iterator[tuple[int, Callable[[], tables.Columns]]]:
    """Yield a table that Arrow reads; raise OnlyPandasError for any other, or in the middle of one."""
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
    names = [name for name in signature.names if name in by_name]
    report(tuple(by_name))
    wanted = [by_name[name] for name in names]
    if is_text:
        batches = arrow_batches.csv_batches(file, dialect, names=wanted, rows=size)
    else:
        batches = arrow_batches.parquet_batches(file, names=wanted, rows=size)
    row = 0
    for batch in batches:
        yield batch.num_rows, _arrow_loader(signature, names, batch, first_row=row, from_text=is_text)
        row += batch.num_rows


def _arrow_loader(
    signature: ModelSignature,
    names: Sequence[str],
    batch: pyarrow.RecordBatch,
    *,
    first_row: int,
    from_text: bool,
) -> Callable[[], tables.Columns]:
    def load() -> tables.Columns:
        specs = {column.name: column for column in signature.columns}
        cells = {
            name: arrow_cells.to_cells(
                column, specs[name].kind, required=specs[name].required, from_text=from_text
            )
            for name, column in zip(names, batch.columns, strict=True)
        }
        return tables.check_columns(cells, signature, first_row, FILE_RULES)

    return load


def _pandas_table(
    signature: ModelSignature, file: Path, *, size: int, skip: int, report: Report
) -> Iterator[tuple[int, Callable[[], tables.Columns]]]:
    texts = [column.name for column in signature.columns if column.kind == "string"]
    row = 0
    for frame in reader.read_batches(file, size, known_names=signature.names, text_columns=texts):
        if not row and signature.columns:
            report(tuple(map(str, frame)))
        first_row, row = row, row + len(frame)
        if row <= skip:
            continue
        kept = frame.iloc[max(0, skip - first_row) :]
        first_row = max(skip, first_row)
        yield len(kept), _pandas_loader(signature, kept, first_row)


def _pandas_loader(
    signature: ModelSignature, frame: pd.DataFrame, first_row: int
) -> Callable[[], tables.Columns]:
    if not signature.columns:
        return lambda: to_lists(frame)  # type: ignore[return-value]  # of an endpoint that does not describe its input
    return lambda: columns_from_frame(signature, frame, first_row=first_row)


def _report_unused(
    signature: ModelSignature, file: Path, listener: ProgressListener, names: tuple[str, ...]
) -> None:
    """Tell the listener which columns the model does not take; raise RequestError if it takes none of them."""
    unused = [name for name in names if name not in signature.names]
    if len(unused) == len(names):  # it is another table
        tables.check_names(names, signature, FILE_RULES)
    if unused:
        listener.message(
            f"{file.name}: left out, because the model does not take them: {', '.join(unused[:12])}"
        )
