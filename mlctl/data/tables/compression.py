"""Open a file that may be compressed, by its suffix: .gz, .bz2, .xz, .zst and .zip."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from mlctl.errors import BadDataError

SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")
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
        reason = " ".join(str(exc).split())[:200]
        raise BadDataError(f"{path} cannot be read: {reason}", "check the file and its permissions") from exc


def read_bytes(path: Path) -> bytes:
    """Return what a file holds, uncompressed. Raises BadDataError."""
    with open_bytes(path) as file:
        return file.read()


def zip_member(path: Path) -> str:
    """Return the name of the one file in a zip file. Raises BadDataError if it holds none or several."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if _is_visible(name)]
    except (OSError, zipfile.BadZipFile) as exc:
        raise BadDataError(f"{path} is not a readable zip file", "create it again") from exc
    if len(names) == 1:
        return names[0]
    if not names:
        raise BadDataError(f"{path} holds no file", "put the table into it")
    raise BadDataError(
        f"{path} holds {len(names)} files: {', '.join(names[:8])}", "unpack it, and name the file to read"
    )


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
