"""Tables in batches of Arrow arrays, much faster than with pandas, for files that both read in the same way."""

from __future__ import annotations

import codecs
import gzip
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables.dialect import QUOTE_AFTER_SPACES, Dialect
from mlctl.domain.short_texts import one_line
from mlctl.errors import BadDataError

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".data", ".gz")  # of files that Arrow opens
SCAN_BYTES = 1 << 20
BLOCK_BYTES = 1 << 19  # of a text table, as much as one batch
_EMPTY_ROW = re.compile(rb"[\n\r][,;|\t ]+[\n\r]")
_OVERLAP = 256  # bytes of a block that are searched again with the next one


class OnlyPandasError(Exception):
    """A text table has rows or cells that only pandas reads as training does."""


def is_plain(path: Path, dialect: Dialect) -> bool:
    """Whether Arrow reads a text table as pandas does.

    That is not so for other encodings than UTF-8, and for tables without a header, with other lines than the header
    and rows, with row names, with several columns of one name, or with one column.
    """
    if not (dialect.is_simple and dialect.header) or path.suffix.lower() not in SUFFIXES:
        return False
    return dialect.are_names_as_written and _is_plain_text(path, dialect)


def csv_names(path: Path, dialect: Dialect) -> list[str]:
    """Return the names in the header of a text table, as they are written."""
    with _csv_reader(path, dialect) as reader:
        return list(reader.schema.names)


def csv_batches(
    path: Path, dialect: Dialect, *, names: Sequence[str], rows: int
) -> Iterator[pyarrow.RecordBatch]:
    """Yield columns of a plain text table as texts, in batches of at most `rows` rows.

    `names` are names of the header. Raises OnlyPandasError in the middle of the file if Arrow cannot read on.
    """
    with _csv_reader(path, dialect, names) as reader:
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except (ValueError, OSError) as exc:  # of another width, for example: pandas decides
                raise OnlyPandasError from exc
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)


def parquet_names(path: Path) -> list[str]:
    """Return the names of a Parquet file's columns, without pandas' index.

    Raises BadDataError, and OnlyPandasError if a column becomes several ones, or several columns have one name.
    """
    import pyarrow

    with _parquet_file(path) as file:
        schema = file.schema_arrow
    fields = [field for field in schema if not field.name.startswith("__index_level_")]
    names = [field.name for field in fields]
    if any(pyarrow.types.is_nested(field.type) for field in fields):
        raise OnlyPandasError
    if len({name.strip() for name in names}) < len(names) or not all(name.strip() for name in names):
        raise OnlyPandasError
    return names


def parquet_batches(path: Path, *, names: Sequence[str], rows: int) -> Iterator[pyarrow.RecordBatch]:
    """Yield columns of a Parquet file in batches of at most `rows` rows."""
    with _parquet_file(path, texts=names) as file:
        yield from file.iter_batches(batch_size=rows, columns=list(names))


def _is_plain_text(path: Path, dialect: Dialect) -> bool:
    """Whether a whole file is UTF-8, and each line below the header is a row with usual quotes.

    If a quote follows spaces, pandas takes it for the start of a quoted cell. Lines of nothing but delimiters, and
    repetitions of the header, are no rows.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    tail = header = b""
    quotes = 0
    with _open(path) as file:
        try:
            while block := file.read(SCAN_BYTES):
                decoder.decode(block)
                if not header:
                    header = b"\n" + block.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0]
                    tail = b"\n"
                quotes += block.count(b'"')
                if quotes and _holds_rows_in_quotes(block, quotes, dialect):
                    return False
                searched = tail + block
                if b' "' in searched and QUOTE_AFTER_SPACES.search(searched):
                    return False
                if _EMPTY_ROW.search(searched) or header + b"\n" in searched[len(tail) + len(header) :]:
                    return False
                tail = block[-_OVERLAP:]
            if _EMPTY_ROW.search(tail + b"\n"):
                return False
            decoder.decode(b"", final=True)
        except (UnicodeDecodeError, OSError, EOFError):
            return False
    return True


def _holds_rows_in_quotes(block: bytes, quotes: int, dialect: Dialect) -> bool:
    """Whether whole rows are in one quoted cell, because a quote before them is never closed.

    `quotes` is the number of quotes in the file up to the end of the block.
    """
    signs = np.frombuffer(block, np.uint8)
    places = np.flatnonzero(signs == ord('"'))
    before = quotes - len(places)
    at_ends = before + np.searchsorted(places, np.flatnonzero(signs == ord("\n")))
    if not (at_ends % 2).any():
        return False
    # a line that begins in quotes; the first and the last one may be incomplete
    starts_in_quotes = at_ends[:-1] % 2 == 1
    delimiter, width = dialect.delimiter.encode(), len(dialect.names)
    inner = block.split(b"\n")[1:-1]
    return any(
        in_quotes and line.count(delimiter) == width - 1
        for line, in_quotes in zip(inner, starts_in_quotes, strict=True)
    )


def _open(path: Path) -> Any:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def _csv_reader(path: Path, dialect: Dialect, names: Sequence[str] | None = None) -> Iterator[Any]:
    """Open a text table with its cells as texts; `names` are the columns to read (default: all)."""
    import pyarrow
    from pyarrow import csv

    convert = csv.ConvertOptions(
        include_columns=list(names or ()),
        column_types=dict.fromkeys(names or (), pyarrow.string()),
        strings_can_be_null=False,
    )
    try:
        source = pyarrow.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None)
        reader = csv.open_csv(
            source,
            csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=dialect.has_quotes),
            convert,
        )
    except (ValueError, OSError, KeyError) as exc:
        raise OnlyPandasError from exc
    with source, reader:
        yield reader


@contextmanager
def _parquet_file(path: Path, texts: Collection[str] = ()) -> Iterator[Any]:
    """Open a Parquet file; `texts` are columns whose texts are read as dictionaries. Raises BadDataError."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path, memory_map=True) as file:
            if texts:
                schema = file.schema_arrow
                columns = [name for name in texts if pyarrow.types.is_string(schema.field(name).type)]
                if columns:
                    with ParquetFile(path, memory_map=True, read_dictionary=columns) as with_dictionaries:
                        yield with_dictionaries
                    return
            yield file
    except (pyarrow.ArrowException, OSError) as exc:
        raise BadDataError(
            f"{path} is not a readable Parquet file: {one_line(exc)}", "write it again"
        ) from exc
