"""Download a published file once: with progress, resumed after a break, verified against its checksum."""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock

from mlctl.data.sources.cache import Progress, cache_error
from mlctl.errors import BadDataError, UnreachableError

CONNECT_TIMEOUT_S = 3.0  # to resolve the name, connect and receive the headers
READ_TIMEOUT_S = 20.0
CHUNK_BYTES = 1 << 18
MAX_RESUMES = 4  # in one command, and only while each attempt brings bytes
MD5_DIGITS = 32


@dataclass(frozen=True)
class Download:
    """A published file.

    Args:
        name: File name.
        url: Where it is published.
        sha256: Its checksum; an MD5 (32 digits) if the publisher gives no other.
    """

    name: str
    url: str
    sha256: str


class _ConnectionError(Exception):
    """The connection failed or ended early."""


@dataclass
class _PartialFile:
    """A download in progress; `was_resumed` tells whether its first bytes came from an earlier attempt."""

    path: Path
    was_resumed: bool = False

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


def fetch_download(download: Download, folder: Path, *, searched: Sequence[Path], progress: Progress) -> Path:
    """Return the file in a folder, downloaded if it is not there; if two processes ask, one downloads.

    A later command resumes a download that broke. `searched` names the folders that do not have the file, for the
    error message.

    Raises UnreachableError, BadDataError, and ConfigurationError if the folder cannot be written.
    """
    path = folder / download.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(download.name + ".lock")):
            if not path.is_file():  # another process may have downloaded it while this one waited
                _download_verified(download, path, searched, progress)
            return path
    except OSError as exc:  # errors of the network are translated further in
        raise cache_error(path, exc) from exc


def _download_verified(download: Download, path: Path, searched: Sequence[Path], progress: Progress) -> None:
    partial = _PartialFile(path.with_name(download.name + ".part"))
    for _ in range(2):  # a second time if the bytes of an earlier attempt were not of this file
        _download_all(download, partial, searched, progress)
        if _digest(partial.path, download) == download.sha256:
            partial.path.replace(path)
            return
        partial.path.unlink()
        if not partial.was_resumed:
            break
        partial.was_resumed = False
    raise BadDataError(
        f"{download.name} from {_host(download)} is not the file that was published: its SHA-256 is another",
        f"nothing was kept; get the file elsewhere and pass it: --data PATH ({download.sha256})",
    )


def _download_all(
    download: Download, partial: _PartialFile, searched: Sequence[Path], progress: Progress
) -> None:
    """Download the missing bytes; resume after a break as long as each attempt brings some."""
    for attempts_left in reversed(range(MAX_RESUMES + 1)):
        before = partial.size
        try:
            _append(download, partial, progress)
        except _ConnectionError as exc:
            if partial.size <= before or not attempts_left:
                raise _unreachable_error(download, partial, searched, exc) from exc
        else:
            return


def _unreachable_error(
    download: Download, partial: _PartialFile, searched: Sequence[Path], exc: _ConnectionError
) -> UnreachableError:
    kept = f"; {partial.size:,} bytes are kept, and the next attempt resumes there" if partial.size else ""
    folders = ", ".join(map(str, searched))
    return UnreachableError(
        f"{download.name} is not on this machine and cannot be downloaded from {_host(download)}: {exc}{kept}",
        f"searched in {folders}; pass the file with --data PATH or MLCTL_DATA_DIR, or try mlctl train digits,"
        " which needs no download",
    )


def _append(download: Download, partial: _PartialFile, progress: Progress) -> None:
    """Append the missing bytes to the partial file; raises _ConnectionError if the connection fails."""
    size = partial.size
    with _open_url(download.url, size) as answer:
        is_resumed = answer.status == 206 and _first_byte(answer) == size
        if size and not is_resumed:  # the server does not know ranges, and sends everything
            size = 0
        partial.was_resumed |= is_resumed
        length = answer.headers.get("Content-Length")
        total = size + int(length) if length and length.isdigit() else None
        try:
            with partial.path.open("ab" if is_resumed else "wb") as file:
                for chunk in _chunks(answer):
                    file.write(chunk)
                    size += len(chunk)
                    progress(download.name, size, total)
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                partial.path.unlink(missing_ok=True)  # do not leave the disk full
            raise
    if total is not None and size < total:
        raise _ConnectionError(f"the connection ended after {size:,} of {total:,} bytes")


def _chunks(answer: HTTPResponse) -> Iterable[bytes]:
    while True:
        try:
            chunk = answer.read(CHUNK_BYTES)
        except (OSError, HTTPException) as exc:
            raise _ConnectionError(_reason(exc)) from exc
        if not chunk:
            return
        yield chunk


def _open_url(url: str, offset: int) -> HTTPResponse:
    """Open a URL within CONNECT_TIMEOUT_S, from a byte offset if the server supports it; raises _ConnectionError.

    A thread does it, because no timeout of Python limits the resolution of a host name.
    """
    headers = {"User-Agent": "mlctl", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(urlopen(Request(url, headers=headers), timeout=READ_TIMEOUT_S))  # noqa: S310  # constants
        except Exception as exc:
            outcome.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(CONNECT_TIMEOUT_S)
    if not outcome:
        raise _ConnectionError(f"no answer in {CONNECT_TIMEOUT_S:g} s")
    if isinstance(outcome[0], HTTPError) and outcome[0].code == 416 and offset:
        return _open_url(url, 0)  # the partial file is longer than the published one
    if isinstance(outcome[0], Exception):
        raise _ConnectionError(_reason(outcome[0])) from outcome[0]
    answer: HTTPResponse = outcome[0]
    return answer


def _first_byte(answer: HTTPResponse) -> int | None:
    start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else None


def _reason(exc: BaseException) -> str:
    if isinstance(exc, HTTPError):
        return f"the server answers {exc.code} {exc.reason}"
    cause = exc.reason if isinstance(exc, URLError) else exc
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__


def _digest(path: Path, download: Download) -> str:
    # Keras publishes only an MD5 for one of its files
    algorithm = "md5" if len(download.sha256) == MD5_DIGITS else "sha256"
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _host(download: Download) -> str:
    return urlsplit(download.url).hostname or download.url
