"""The formats of tables by their suffixes.

To add a format, write a module with a function like `read_json`, and add a line to `FORMATS`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from mlctl.data.tables import compression
from mlctl.data.tables.formats.arrow_files import read_feather, read_parquet
from mlctl.data.tables.formats.content import Reader, ReadOptions, TableContent
from mlctl.data.tables.formats.delimited import read_delimited
from mlctl.data.tables.formats.json_tables import read_json, read_json_lines
from mlctl.data.tables.formats.markup_tables import START_BYTES, is_markup, read_markup
from mlctl.data.tables.formats.numpy_arrays import read_npz
from mlctl.data.tables.formats.part_folders import list_parts, read_parts
from mlctl.data.tables.formats.spreadsheets import read_spreadsheet
from mlctl.data.tables.formats.sqlite import SEPARATOR, read_sqlite
from mlctl.domain.short_texts import list_some
from mlctl.errors import BadDataError, NotFoundError, did_you_mean

FORMATS: Mapping[str, Reader] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".tab": read_delimited,
    ".txt": read_delimited,
    ".data": read_delimited,
    ".dat": read_delimited,
    ".arff": read_delimited,
    ".parquet": read_parquet,
    ".pq": read_parquet,
    ".feather": read_feather,
    ".arrow": read_feather,
    ".xlsx": read_spreadsheet,
    ".xlsm": read_spreadsheet,
    ".xlsb": read_spreadsheet,
    ".xls": read_spreadsheet,
    ".ods": read_spreadsheet,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".npz": read_npz,
    ".db": read_sqlite,
    ".sqlite": read_sqlite,
    ".sqlite3": read_sqlite,
    ".db3": read_sqlite,
}
COMPRESSIBLE = (read_delimited, read_json, read_json_lines)
DATABASE_SUFFIXES = tuple(suffix for suffix, reader in FORMATS.items() if reader is read_sqlite)
SPREADSHEET_SUFFIXES = tuple(suffix for suffix, reader in FORMATS.items() if reader is read_spreadsheet)
PARQUET_SUFFIXES = tuple(suffix for suffix, reader in FORMATS.items() if reader is read_parquet)
# names that are usually no table: a text, a request to a model, arrays
OTHER_USES = (".txt", ".json", ".npz", *(f".txt{suffix}" for suffix in compression.SUFFIXES))
SUFFIXES = (
    *FORMATS,
    *(
        f"{suffix}{packed}"
        for suffix, reader in FORMATS.items()
        if reader in COMPRESSIBLE
        for packed in compression.SUFFIXES
    ),
)
_SIGNATURES: tuple[tuple[bytes, Reader], ...] = (
    (b"PAR1", read_parquet),
    (b"ARROW1", read_feather),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", read_spreadsheet),
    (b"SQLite format 3\0", read_sqlite),
)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def is_table_name(name: str) -> bool:
    """Whether a name has the suffix of a table, or names a table of a database or a sheet of a spreadsheet."""
    name = name.lower()
    file, separator, table = name.rpartition(SEPARATOR)
    if separator and table:
        return file.endswith((*DATABASE_SUFFIXES, *SPREADSHEET_SUFFIXES, ".zip"))
    return name.endswith((*SUFFIXES, *compression.SUFFIXES)) and not name.removesuffix(".gz").endswith(".tar")


def reader_of(path: Path) -> Reader:
    """Return the reader of a file or folder: by its name, and if the content is of another format, by that."""
    if SEPARATOR in path.name:
        file, _, part = str(path).rpartition(SEPARATOR)
        if file.lower().endswith(SPREADSHEET_SUFFIXES):
            return partial(_read_sheet, file=Path(file), sheet=part)
        if file.lower().endswith(".zip"):
            return partial(_read_member, file=Path(file), member=part)
        return read_sqlite
    if path.is_dir():
        return _read_folder
    name = path.name.lower()
    if name.endswith(".zip") and path.is_file():
        return _reader_in_zip(path)
    suffix = Path(compression.inner_name(name)).suffix
    reader = FORMATS.get(suffix, read_delimited)
    if compression.is_compressed(path):
        return reader if reader in COMPRESSIBLE else read_delimited
    return _reader_by_content(path, reader)


def parts_of(folder: Path) -> list[Path]:
    """Return the part files of a folder that holds one table; [] for any other folder."""
    return list_parts(folder, lambda name: name.lower().endswith(_PART_SUFFIXES))


_PART_SUFFIXES = tuple(
    suffix for suffix in SUFFIXES if not suffix.startswith((".txt", ".npz", *DATABASE_SUFFIXES))
)


def _read_folder(path: Path, options: ReadOptions) -> TableContent:
    if not (parts := parts_of(path)):
        raise BadDataError(
            f"{path} is no folder of the parts of one table",
            "its files must have the same suffix, such as .parquet",
        )
    return read_parts(path, parts, options, reader_of)


def _read_sheet(path: Path, options: ReadOptions, *, file: Path, sheet: str) -> TableContent:
    if not file.is_file():
        raise NotFoundError(f"there is no file {file}", "check the path")
    return read_spreadsheet(file, replace(options, sheet=sheet))


def _read_member(path: Path, options: ReadOptions, *, file: Path, member: str) -> TableContent:
    """Return a table of a zip file by the name of its file, without folders."""
    if not file.is_file():
        raise NotFoundError(f"there is no file {file}", "check the path")
    names = {PurePosixPath(name).name.casefold(): name for name in compression.zip_members(file)}
    name = names.get(member.casefold())
    if name is None:
        listed = [PurePosixPath(other).name for other in names.values()]
        hint = did_you_mean(member, listed) or f"the files are {list_some(listed, 12)}"
        raise NotFoundError(f"{file} holds no file {member!r}", hint)
    return _read_unpacked(path, options, file=file, member=name)


def _read_unpacked(path: Path, options: ReadOptions, *, file: Path, member: str) -> TableContent:
    with compression.unpacked(file, member) as unpacked:
        content = reader_of(unpacked)(unpacked, options)
    note = f"{PurePosixPath(member).name} is read, a file of {file.name}"
    return replace(content, notes=(note, *content.notes))


def _reader_in_zip(path: Path) -> Reader:
    """Return the reader of the one table in a zip file."""
    member = compression.zip_member(path)
    suffix = Path(compression.inner_name(member)).suffix
    reader = FORMATS.get(suffix, read_delimited)
    if (
        reader in COMPRESSIBLE
        and len(compression.zip_members(path)) == 1
        and not compression.is_compressed(Path(member))
    ):
        return reader
    return partial(_read_unpacked, file=path, member=member)


def _reader_by_content(path: Path, reader: Reader) -> Reader:
    """Return the reader of what a file begins with, such as a spreadsheet that is named .csv."""
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except OSError:
        return reader  # which reports it
    for signature, other in _SIGNATURES:
        if start.startswith(signature):
            return other
    if start.startswith(_LFS_POINTER):
        raise BadDataError(f"{path} is a pointer of Git LFS, and not the file itself", "git lfs pull")
    if start.startswith(b"PK\x03\x04"):
        if reader is read_delimited and zipfile.is_zipfile(path):
            return read_spreadsheet
        return reader
    if reader in (read_spreadsheet, read_delimited) and is_markup(start):
        return read_markup
    is_text = bool(start) and b"\0" not in start and not start.lstrip().startswith(b"<")
    if path.suffix.lower() == ".xls" and is_text:
        return read_delimited  # as some programs export text
    return reader
