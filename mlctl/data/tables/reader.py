"""Reading tables from files, as a whole or in batches of rows.

To add a file format, write a function like `_read_parquet` and add its suffixes to `READERS`.
"""

from __future__ import annotations

import codecs
import gzip
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.data.tables.dialect import Dialect, detect_dialect, require_unique_names
from mlctl.domain.missing_values import EXTRA_WORDS
from mlctl.errors import BadDataError

if TYPE_CHECKING:
    import pandas as pd

BLOCK_BYTES = 1 << 20
_DECIMAL_COMMA_NUMBER = (
    r"\s*[$€£]?\s*[-+]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]+)(,[0-9]+)?\s*[%$€£]?\s*"  # 1.234,50 €
)
_AS_WRITTEN: Mapping[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": None}


def is_table(name: str) -> bool:
    """Whether mlctl reads a file of this name as a table."""
    return name.lower().endswith(SUFFIXES)


def read_table(
    path: Path, *, header: bool | None = None, known_names: Collection[str] = ()
) -> tuple[pd.DataFrame, str]:
    """Return a table with its cells unconverted, and a description of its format.

    Raises BadDataError if the file holds no complete table.

    Args:
        path: File of any format in `READERS`.
        header: Whether the first row names the columns; None detects it.
        known_names: Possible column names; a first row with one of them is the header.
    """
    frame, description = _reader_of(path)(path, header, known_names)
    if frame.empty or not len(frame.columns):
        raise BadDataError(f"{path} has no rows", "a table needs a header and at least one row")
    return frame, description


def read_head(path: Path, rows: int = 200) -> pd.DataFrame:
    """Return the first rows; raises BadDataError if the file holds no table."""
    if is_delimited(path):
        return _parse(path, detect_dialect(path), nrows=rows)
    return read_table(path)[0].head(rows)


def read_cells(
    path: Path, *, header: bool | None = None, known_names: Collection[str] = ()
) -> pd.DataFrame | None:
    """Return all cells of a text file as they are written, such as "NA" and ""; None for other formats."""
    if not is_delimited(path):
        return None
    return _parse(path, detect_dialect(path, header=header, known_names=known_names), **_AS_WRITTEN)


def read_batches(
    path: Path, rows: int, *, known_names: Collection[str], text_columns: Collection[str]
) -> Iterator[pd.DataFrame]:
    """Yield a table in batches of at most `rows` rows.

    Raises BadDataError if the file holds no complete table.

    Args:
        path: File of any format in `READERS`.
        rows: Maximum number of rows in a batch.
        known_names: Possible column names; a first row with one of them is the header.
        text_columns: Columns of a text file whose cells stay texts; any other column becomes numbers in each batch
            that holds only numbers.
    """
    import pandas as pd

    if _reader_of(path) is _read_parquet:
        yield from _parquet_batches(path, rows)
        return
    if not is_delimited(path):
        frame, _ = read_table(path)
        yield from (frame[start : start + rows] for start in range(0, len(frame), rows))
        return
    dialect = detect_dialect(path, known_names=known_names)
    with _pandas_errors(path):
        arguments = _pandas_arguments(path, dialect)
        first = pd.read_csv(path, **arguments, nrows=1)
        named = zip(first.columns, _column_names(first, dialect), strict=True)
        types: dict[Any, Any] = {column: str for column, name in named if name in text_columns}
        with pd.read_csv(path, **arguments, chunksize=rows, dtype=types) as batches:
            for frame in batches:
                yield _clean(frame, dialect)


def count_rows(path: Path) -> int | None:
    """Return the number of rows if the file says it without being read, else None."""
    if _reader_of(path) is not _read_parquet:
        return None
    import pyarrow.parquet

    rows: int = pyarrow.parquet.read_metadata(path).num_rows
    return rows


def is_delimited(path: Path) -> bool:
    """Whether a table is a text file."""
    return _reader_of(path) is _read_delimited


def _reader_of(path: Path) -> Reader:
    name = path.name.lower()
    return next((reader for suffix, reader in READERS.items() if name.endswith(suffix)), _read_delimited)


def _read_delimited(
    path: Path, header: bool | None, known_names: Collection[str]
) -> tuple[pd.DataFrame, str]:
    dialect = detect_dialect(path, header=header, known_names=known_names)
    return _parse(path, dialect), str(dialect)


def _read_parquet(path: Path, header: bool | None, known_names: Collection[str]) -> tuple[pd.DataFrame, str]:
    import pandas as pd

    try:
        import pyarrow.parquet

        require_unique_names(path, pyarrow.parquet.read_schema(path).names)
        frame = pd.read_parquet(path).reset_index(drop=True)
    except (OSError, ValueError, ImportError) as exc:
        raise BadDataError(
            f"{path} is not a readable Parquet file: {_one_line(exc)}", "write it again"
        ) from exc
    frame.columns = [str(name).strip() for name in frame.columns]
    return frame, "Parquet"


def _parquet_batches(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows):
                names = [name for name in batch.schema.names if not name.startswith("__index_level_")]
                yield batch.select(names).to_pandas().rename(columns=lambda name: str(name).strip())
    except (pyarrow.ArrowException, OSError) as exc:
        raise BadDataError(
            f"{path} is not a readable Parquet file: {_one_line(exc)}", "write it again"
        ) from exc


Reader = Callable[[Path, bool | None, Collection[str]], "tuple[pd.DataFrame, str]"]
READERS: Mapping[str, Reader] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".csv.gz": _read_delimited,
    ".tsv.gz": _read_delimited,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
}
SUFFIXES = tuple(READERS)
PARQUET_SUFFIXES = tuple(suffix for suffix, reader in READERS.items() if reader is _read_parquet)


def _parse(path: Path, dialect: Dialect, **arguments: Any) -> pd.DataFrame:
    import pandas as pd

    with _pandas_errors(path):
        return _clean(pd.read_csv(path, **(_pandas_arguments(path, dialect) | arguments)), dialect)


@contextmanager
def _pandas_errors(path: Path) -> Iterator[None]:
    """Raise BadDataError for whatever pandas cannot read."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            # pandas drops cells of columns without a name
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except pd.errors.ParserWarning as exc:
        raise BadDataError(
            f"{path}: the rows have more cells than the header", "give every column a name in the first row"
        ) from exc
    except UnicodeDecodeError as exc:
        raise BadDataError(f"{path} is neither UTF-8 nor Windows-1252 text", "save it as UTF-8") from exc
    except (ValueError, OSError, EOFError) as exc:  # pandas.errors.ParserError is a ValueError
        raise BadDataError(f"{path} is not a complete table: {_one_line(exc)}", "correct that line") from exc


def _pandas_arguments(path: Path, dialect: Dialect) -> dict[str, Any]:
    return {
        "encoding": _encoding_of_whole_file(path, dialect.encoding),
        "sep": dialect.delimiter,
        "header": 0 if dialect.header else None,
        "decimal": dialect.decimal,
        "na_values": EXTRA_WORDS,
        "skipinitialspace": True,
        "low_memory": False,
        "index_col": None if dialect.row_names else False,
    }


def _encoding_of_whole_file(path: Path, detected: str) -> str:
    """Return the encoding of the whole file: bytes that are not UTF-8 may come after the sample."""
    if detected != "utf-8":
        return detected
    decoder = codecs.getincrementaldecoder("utf-8")()
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            while block := file.read(BLOCK_BYTES):
                decoder.decode(block)
        except UnicodeDecodeError:
            return "cp1252"
    return detected


def _clean(frame: pd.DataFrame, dialect: Dialect) -> pd.DataFrame:
    """Return a frame from pandas with its column names, and with numbers such as 1.234,50 as 1234.50."""
    frame = frame.set_axis(_column_names(frame, dialect), axis="columns")
    if dialect.row_names:
        frame = frame.reset_index(drop=True)
    if dialect.decimal == ",":
        for name in frame:
            filled = frame[name].dropna()
            if filled.dtype.kind != "O" or not len(filled):
                continue
            if filled.str.fullmatch(_DECIMAL_COMMA_NUMBER).mean() > 0.5:
                is_number = frame[name].str.fullmatch(_DECIMAL_COMMA_NUMBER, na=False)
                with_point = frame[name].str.replace(".", "").str.replace(",", ".")
                frame[name] = with_point.where(is_number, frame[name])
    return frame


def _column_names(frame: pd.DataFrame, dialect: Dialect) -> list[str]:
    if dialect.header:
        return [str(name).strip() for name in frame.columns]
    return [f"c{number}" for number in range(1, len(frame.columns) + 1)]


def _one_line(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:200]
