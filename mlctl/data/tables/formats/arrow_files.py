"""Parquet and Feather (Arrow) files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.data.tables.formats.content import ReadOptions, TableContent
from mlctl.data.tables.formats.typed_values import typed_frame
from mlctl.domain.short_texts import one_line
from mlctl.errors import BadDataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet


def read_parquet(path: Path, options: ReadOptions) -> TableContent:
    """Return a Parquet file; a named index is a column, an unnamed one is not."""
    import pyarrow.parquet

    try:
        # pandas.read_parquet refuses several columns of one name
        with pyarrow.parquet.ParquetFile(path) as file:
            frame = _first_rows(file, options.rows) if options.rows else file.read().to_pandas()
    except (OSError, ValueError, ImportError, pyarrow.ArrowException) as exc:
        raise _unreadable(path, "Parquet", exc) from exc
    return _content(frame, "Parquet", options)


def _first_rows(file: pyarrow.parquet.ParquetFile, rows: int) -> pd.DataFrame:
    import pyarrow

    batch = next(file.iter_batches(batch_size=rows), None)
    if batch is None:
        return file.read().to_pandas()
    return pyarrow.Table.from_batches([batch]).to_pandas()


def read_feather(path: Path, options: ReadOptions) -> TableContent:
    """Return a Feather or Arrow file, or an Arrow stream."""
    import pyarrow
    from pyarrow import feather, ipc

    try:
        try:
            table = feather.read_table(path)
        except pyarrow.ArrowInvalid:
            with pyarrow.memory_map(str(path)) as file:
                table = ipc.open_stream(file).read_all()
        frame = table.to_pandas()
    except (OSError, ValueError, pyarrow.ArrowException) as exc:
        raise _unreadable(path, "Feather", exc) from exc
    return _content(frame, "Feather", options)


def _content(frame: pd.DataFrame, description: str, options: ReadOptions) -> TableContent:
    if options.rows:
        frame = frame.head(options.rows)
    index = frame.index.to_frame(index=False)
    named: list[tuple[Any, Any]] = [
        (name, index.iloc[:, place]) for place, name in enumerate(frame.index.names) if name is not None
    ]
    plain = frame.reset_index(drop=True)
    columns = [(name, plain.iloc[:, place]) for place, name in enumerate(plain.columns)]
    table, notes = typed_frame([(str(name).strip(), column) for name, column in [*named, *columns]])
    if named:
        names = ", ".join(str(name) for name, _ in named)
        notes = (f"the index is a column: {names}", *notes)
    return TableContent(frame=table, description=description, notes=notes)


def _unreadable(path: Path, format: str, exc: BaseException) -> BadDataError:
    reason = one_line(exc)
    return BadDataError(f"{path} is not a readable {format} file: {reason}", "write it again")
