"""Reading tables from files of any format, as a whole or in batches of rows.

`formats.registry` says how to add a format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlctl.data.sources.locate import sha256
from mlctl.data.tables.compression import SUFFIXES as COMPRESSIONS
from mlctl.data.tables.dialect import detect_dialect
from mlctl.data.tables.formats.content import ReadOptions, TableContent
from mlctl.data.tables.formats.delimited import read_as_written, read_delimited, read_delimited_batches
from mlctl.data.tables.formats.part_folders import lacks_header
from mlctl.data.tables.formats.registry import (
    DATABASE_SUFFIXES,
    OTHER_USES,
    PARQUET_SUFFIXES,
    SUFFIXES,
    is_table_name,
    parts_of,
    reader_of,
)
from mlctl.data.tables.formats.sqlite import SEPARATOR, split_table
from mlctl.errors import BadDataError, NotFoundError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

__all__ = [
    "COMPRESSIONS",
    "DATABASE_SUFFIXES",
    "OTHER_USES",
    "PARQUET_SUFFIXES",
    "SUFFIXES",
    "TableContent",
    "combined_digest",
    "count_rows",
    "digest",
    "files_of",
    "is_delimited",
    "is_only_table",
    "is_parquet",
    "is_part_of_file",
    "is_read_as_a_whole",
    "is_table",
    "parts_of",
    "read",
    "read_batches",
    "read_cells",
    "read_head",
]


FIRST_FORMATS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", *PARQUET_SUFFIXES)


def is_table(name: str) -> bool:
    """Whether mlctl reads a file of this name as a table."""
    return is_table_name(name)


def is_only_table(name: str) -> bool:
    """Whether a file of this name is nothing but a table: a .txt file may be a text, an .npz file any arrays."""
    return is_table_name(name) and not name.lower().endswith(OTHER_USES)


def is_part_of_file(name: str) -> bool:
    """Whether a name is FILE::PART, a table of a database or a sheet of a spreadsheet, and there is such a file."""
    file, separator, _ = name.partition(SEPARATOR)
    return bool(separator) and is_table_name(name) and Path(file).expanduser().is_file()


def read(
    path: Path,
    *,
    header: bool | None = None,
    known_names: Collection[str] = (),
    sheet: str = "",
) -> TableContent:
    """Return a table of any format, with its cells as they are written.

    Raises BadDataError if the file holds no complete table.

    Args:
        path: A file, a folder of part files, or a table of a database (FILE.db::TABLE).
        header: Whether the first row names the columns; None detects it.
        known_names: Possible column names; a first row with one of them is the header.
        sheet: Name or number of a spreadsheet's sheet; "" takes the first one with rows.
    """
    options = ReadOptions(header=header, known_names=frozenset(known_names), sheet=sheet)
    content = reader_of(path)(path, options)
    if content.frame.empty or not len(content.frame.columns):
        raise BadDataError(f"{path} has no rows", "a table needs a header and at least one row")
    return content


def read_head(path: Path, rows: int = 200, *, sheet: str = "") -> pd.DataFrame:
    """Return the first rows; raises BadDataError if the file holds no table."""
    options = ReadOptions(rows=rows, sheet=sheet)
    return reader_of(path)(path, options).frame.head(rows)


def read_cells(
    path: Path, *, header: bool | None = None, known_names: Collection[str] = ()
) -> pyarrow.Table | None:
    """Return all cells of a text file as they are written, such as "NA" and ""; None for other formats."""
    if not is_delimited(path):
        return None
    return read_as_written(path, ReadOptions(header=header, known_names=frozenset(known_names)))


def read_batches(
    path: Path,
    rows: int,
    *,
    known_names: Collection[str],
    text_columns: Collection[str],
    on_note: Callable[[str], None] = lambda note: None,
) -> Iterator[pd.DataFrame]:
    """Yield a table in batches of at most `rows` rows, with its cells as they are written.

    Raises BadDataError if the file holds no complete table.

    Args:
        path: As in `read`.
        rows: Maximum number of rows in a batch.
        known_names: Possible column names; a first row with one of them is the header.
        text_columns: Columns of a text file whose cells stay texts; any other column becomes numbers in each batch
            that holds only numbers.
        on_note: Called with each note of `read`.
    """
    if is_delimited(path):
        yield from read_delimited_batches(
            path, rows, known_names=known_names, text_columns=text_columns, on_note=on_note
        )
        return
    content = read(path, known_names=known_names)
    for note in content.notes:
        on_note(note)
    frame = content.frame
    yield from (frame[start : start + rows] for start in range(0, len(frame), rows))


def count_rows(path: Path) -> int | None:
    """Return the number of rows if the file says it without being read, else None."""
    if not is_parquet(path):
        return None
    import pyarrow.parquet

    rows: int = pyarrow.parquet.read_metadata(path).num_rows
    return rows


def is_read_as_a_whole(folder: Path) -> bool:
    """Whether the parts in a folder are not tables of their own.

    They have subfolders such as year=2024, whose names are a column, or only the first part has the header.
    """
    parts = parts_of(folder)
    if any("=" in part.relative_to(folder).as_posix() for part in parts):
        return True
    if len(parts) < 2 or not all(is_delimited(part) and part.stat().st_size for part in parts[:2]):
        return False
    first = detect_dialect(parts[0])
    return first.header and lacks_header(detect_dialect(parts[1], known_names=first.names).names, first.names)


def is_delimited(path: Path) -> bool:
    """Whether a table is a text file."""
    return reader_of(path) is read_delimited


def is_parquet(path: Path) -> bool:
    """Whether a table is one Parquet file."""
    return path.is_file() and path.name.lower().endswith(PARQUET_SUFFIXES)


def digest(path: Path, *, header: bool | None = None, sheet: str = "") -> tuple[str, int]:
    """Return the SHA-256 of a table, and the size of its files.

    For the formats of the first version it is that of the file. For any other it is that of the names and cells, so
    that the same table has the same digest in all of them.
    """
    files = files_of(path)
    size = sum(file.stat().st_size for file in files)
    if files == [path] and path.name.lower().endswith(FIRST_FORMATS):
        return sha256([path]), size
    return read(path, header=header, sheet=sheet).sha256, size


def combined_digest(paths: Sequence[Path], *, header: bool | None = None, sheet: str = "") -> tuple[str, int]:
    """Return the digest of several tables, and the size of all of their files."""
    digests = [digest(path, header=header, sheet=sheet) for path in paths]
    size = sum(size for _, size in digests)
    if len(digests) == 1:
        return digests[0][0], size
    return hashlib.sha256(b"".join(bytes.fromhex(sha256) for sha256, _ in digests)).hexdigest(), size


def files_of(path: Path) -> list[Path]:
    """Return the files that hold a table: itself, the database, or the parts. Raises NotFoundError."""
    if SEPARATOR in str(path):
        path, _ = split_table(path)
    if path.is_dir():
        return parts_of(path)
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", "check the path")
    return [path]
