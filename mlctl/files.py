"""Writing files so that a crash leaves the old content or the new content, never a part of it."""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mlctl.errors import BadDataError, NotFoundError


@contextmanager
def atomic_writer(
    path: Path, *, durable: bool = False, mode: int = 0o666, part: Path | None = None
) -> Iterator[IO[bytes]]:
    """Yield a new binary file, which replaces `path` when the block ends without an error.

    Args:
        path: File to replace; its folder must exist.
        durable: Sync the content to the disk first, so that it also survives a loss of power.
        mode: Permissions of the file, before the process's umask.
        part: Temporary file in the same folder; by default a hidden file with a random name.
    """
    part = part or path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode), "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes, *, durable: bool = True, mode: int = 0o666) -> None:
    """Replace the content of a file; see `atomic_writer`."""
    with atomic_writer(path, durable=durable, mode=mode) as file:
        file.write(content)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file, which is made if it does not exist, until the block or the process ends.

    Args:
        path: The file.
        wait: Wait while another process holds the lock; otherwise raise BlockingIOError.
    """
    with _flock(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), wait=wait):
        yield


@contextmanager
def locked_folder(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a folder, which leaves no lock file behind; see `locked`."""
    with _flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), wait=wait):
        yield


@contextmanager
def _flock(descriptor: int, *, wait: bool) -> Iterator[None]:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)  # which also releases the lock


def drop_torn_line(path: Path) -> None:
    """Remove a last line without a newline, which a crash left; do nothing if there is no file."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        complete = content.rfind(b"\n") + 1
        if complete < len(content):
            file.truncate(complete)


def read_secret(file: str, *, content: str) -> str:
    """Return the text of a file, or the next line of stdin if `file` is "-", without surrounding white space.

    Raises NotFoundError if there is no such file, and BadDataError if it cannot be read; the hints say that the
    file holds `content`.
    """
    if file == "-":
        return sys.stdin.readline().strip()
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as exc:
        raise NotFoundError(f"there is no file {file}", f"name a file that holds {content}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not text"
        raise BadDataError(f"cannot read {file}: {reason}", f"name a text file that holds {content}") from exc
