"""Open a file that may be compressed, by its suffix: .gz, .bz2, .xz, .zst and .zip."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from mlctl.domain.short_texts import list_some, one_line
from mlctl.errors import BadDataError

SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")
DOCUMENTS = (
    ".pdf",
    ".md",
    ".rst",
    ".html",
    ".htm",
    ".doc",
    ".docx",
    ".rtf",
    ".png",
    ".jpg",
    ".names",
    ".index",
)
DOCUMENT_NAMES = ("readme", "read me", "read_me", "liesmich", "license", "licence", "changelog", "citation")
MAC_ARCHIVE = "__MACOSX"  # a Mac adds this folder to a zip file


def inner_name(name: str) -> str:
    """Return a file's name in lower case without the suffix of a compression: t.csv.gz is t.csv."""
    name = name.lower()
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.endswith(suffix)), name)


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed, by its name."""
    return path.name.lower().endswith(SUFFIXES)


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to read what it holds, uncompressed. Raises BadDataError if it cannot be read."""
    try:
        with _open(path) as file:
            yield file
    except (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as exc:
        raise _unreadable(path, exc, "check the file and its permissions") from exc


def read_bytes(path: Path) -> bytes:
    """Return what a file holds, uncompressed. Raises BadDataError."""
    with open_bytes(path) as file:
        return file.read()


def zip_member(path: Path) -> str:
    """Return the name of the one table in a zip file, beside which documents may be.

    Raises BadDataError if it holds none or several.
    """
    names = zip_members(path)
    tables = [name for name in names if not _is_document(name)] if len(names) > 1 else names
    if len(tables) == 1:
        return tables[0]
    if not names:
        raise BadDataError(f"{path} holds no file", "put the table into it")
    listed = [PurePosixPath(name).name for name in tables or names]
    raise BadDataError(
        f"{path} holds {len(listed)} files: {list_some(listed, 8)}", f"name one of them: {path}::{listed[0]}"
    )


def zip_members(path: Path) -> list[str]:
    """Return the names of the files in a zip file, without those that a Mac or a folder adds. Raises BadDataError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name for name in archive.namelist() if _is_visible(name)]
    except (OSError, zipfile.BadZipFile) as exc:
        raise BadDataError(f"{path} is not a readable zip file", "create it again") from exc


@contextmanager
def unpacked(path: Path, member: str) -> Iterator[Path]:
    """Write a file of a zip file to a temporary folder for the duration of the block. Raises BadDataError."""
    with tempfile.TemporaryDirectory(prefix="mlctl-") as folder:
        file = Path(folder) / PurePosixPath(member).name
        try:
            with zipfile.ZipFile(path) as archive, archive.open(member) as packed, file.open("wb") as copy:
                shutil.copyfileobj(packed, copy)
        except (OSError, EOFError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as exc:
            raise _unreadable(path, exc, "create it again") from exc
        yield file


def _unreadable(path: Path, exc: Exception, hint: str) -> BadDataError:
    if isinstance(exc, RuntimeError) and "encrypted" in str(exc):
        return BadDataError(f"{path} has a password", "unpack it first")
    return BadDataError(f"{path} cannot be read: {one_line(exc)}", hint)


def _is_document(name: str) -> bool:
    """Whether a file beside a table describes it."""
    file = PurePosixPath(name.lower())
    return file.suffix in DOCUMENTS or file.stem.startswith(DOCUMENT_NAMES)


def _is_visible(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not name.endswith("/") and MAC_ARCHIVE not in parts and not parts[-1].startswith(".")


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    suffix = path.suffix.lower()
    if suffix == ".zip":
        member = zip_member(path)
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            yield file
        return
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _open_zst}.get(suffix, open)
    with opener(path, "rb") as file:
        yield file


def _open_zst(path: Path, _: str) -> IO[bytes]:
    import pyarrow

    try:
        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    except pyarrow.ArrowException as exc:
        raise OSError(str(exc)) from exc
