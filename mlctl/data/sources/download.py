"""Fetching a published file: with progress, resumed where it broke, checked against its pin, and only once."""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock

from mlctl.data.sources.cache import Progress, writing
from mlctl.errors import BadDataError, UnreachableError

ANSWER_WITHIN_S = 3.0  # names resolved, connected, headers here: a machine without a network is told in time
STALLED_AFTER_S = 20.0
CHUNK = 1 << 18
RESUMES = 4  # in one command, and only while each try brought bytes


@dataclass(frozen=True)
class Download:
    """A file that can be fetched: its name, where it is published, and what its bytes must hash to.

    `sha256` may be an MD5 (32 digits) where the publisher gives no other.
    """

    name: str
    url: str
    sha256: str


class _BrokenError(Exception):
    """The connection failed or ended early."""


@dataclass
class _Partial:
    """A download under way: its file, and how much is there."""

    path: Path
    resumed: bool = False

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


def fetch(wanted: Download, folder: Path, looked_in: Sequence[Path], progress: Progress) -> Path:
    """Return the file in this folder, fetched, checked and named at a stroke; two processes fetch it once.

    A connection that breaks is taken up where it broke, now or in a later command. Raises UnreachableError, which
    names the places that were looked into, BadDataError, and ConfigurationError for a folder that cannot be written.
    """
    final = folder / wanted.name
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(final.with_name(wanted.name + ".lock")):
            if final.is_file():  # another run has fetched it while this one waited
                return final
            return _fetched(wanted, final, looked_in, progress)
    except OSError as exc:  # the network's own are translated further in
        raise writing(final, exc) from exc


def _fetched(wanted: Download, final: Path, looked_in: Sequence[Path], progress: Progress) -> Path:
    partial = _Partial(final.with_name(wanted.name + ".part"))
    for _ in range(2):  # a second time where what was left of an older try was not of this file
        _complete(wanted, partial, looked_in, progress)
        if _digest(partial.path, wanted) == wanted.sha256:
            partial.path.replace(final)
            return final
        partial.path.unlink()
        if not partial.resumed:
            break
        partial.resumed = False
    raise BadDataError(
        f"{wanted.name} from {_host(wanted)} is not the file that was published: its SHA-256 is another",
        f"nothing was kept; fetch it elsewhere and give it: --data PATH ({wanted.sha256})",
    )


def _complete(wanted: Download, partial: _Partial, looked_in: Sequence[Path], progress: Progress) -> None:
    """Fetch what is missing, going on where a connection broke as long as each try brings something."""
    for tries_left in reversed(range(RESUMES + 1)):
        before = partial.size
        try:
            _append(wanted, partial, progress)
        except _BrokenError as exc:
            if partial.size <= before or not tries_left:
                _unreachable(wanted, looked_in, partial, exc)
        else:
            return


def _unreachable(
    wanted: Download, looked_in: Sequence[Path], partial: _Partial, exc: _BrokenError
) -> NoReturn:
    looked = ", ".join(map(str, looked_in))
    have = f"; {partial.size:,} bytes are kept, and the next try goes on from there" if partial.size else ""
    raise UnreachableError(
        f"{wanted.name} is not on this machine and cannot be fetched from {_host(wanted)}: {exc}{have}",
        f"looked in {looked}; give it with --data PATH or MLCTL_DATA_DIR, or try mlctl train digits,"
        " which needs no download",
    ) from exc


def _append(wanted: Download, partial: _Partial, progress: Progress) -> None:
    """Append to the partial file until it is whole; raises _BrokenError where the connection fails."""
    have = partial.size
    with _opened(wanted.url, have) as answer:
        goes_on = answer.status == 206 and _starts_at(answer) == have
        if have and not goes_on:  # a server that knows no ranges sends the whole
            have = 0
        partial.resumed |= goes_on
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        try:
            with partial.path.open("ab" if goes_on else "wb") as file:
                for chunk in _chunks(answer):
                    file.write(chunk)
                    have += len(chunk)
                    progress(wanted.name, have, total)
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                partial.path.unlink(missing_ok=True)  # a full disk is not left full by us
            raise
    if total is not None and have < total:
        raise _BrokenError(f"the connection ended after {have:,} of {total:,} bytes")


def _chunks(answer: HTTPResponse) -> Iterable[bytes]:
    while True:
        try:
            chunk = answer.read(CHUNK)
        except (OSError, HTTPException) as exc:
            raise _BrokenError(_reason(exc)) from exc
        if not chunk:
            return
        yield chunk


def _opened(url: str, have: int) -> HTTPResponse:
    """Open a URL in ANSWER_WITHIN_S, from byte `have` on where the server can; raises _BrokenError.

    In a thread of its own, because no timeout bounds the look-up of a name.
    """
    headers = {"User-Agent": "mlctl", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(urlopen(Request(url, headers=headers), timeout=STALLED_AFTER_S))  # noqa: S310 (our own constants)
        except Exception as exc:
            outcome.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(ANSWER_WITHIN_S)
    if not outcome:
        raise _BrokenError(f"no answer in {ANSWER_WITHIN_S:g} s")
    if isinstance(outcome[0], HTTPError) and outcome[0].code == 416 and have:  # ours is longer than theirs
        return _opened(url, 0)
    if isinstance(outcome[0], Exception):
        raise _BrokenError(_reason(outcome[0])) from outcome[0]
    answer: HTTPResponse = outcome[0]
    return answer


def _starts_at(answer: HTTPResponse) -> int | None:
    start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else None


def _reason(exc: BaseException) -> str:
    if isinstance(exc, HTTPError):
        return f"it answers {exc.code} {exc.reason}"
    cause = exc.reason if isinstance(exc, URLError) else exc
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__


def _digest(path: Path, wanted: Download) -> str:
    # Keras publishes an MD5 alone for one of its files: 32 hexadecimal digits
    algorithm = "md5" if len(wanted.sha256) == 32 else "sha256"
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _host(wanted: Download) -> str:
    return urlsplit(wanted.url).hostname or wanted.url
