"""Where a data file is found: what --data gave, the data folders, the cache, and at last the download."""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock

from mlctl.data.caching import Progress, writing
from mlctl.errors import BadDataError, NotFoundError, UnreachableError

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


@dataclass(frozen=True)
class Source:
    """Where a recipe's data is to come from: what `load` is handed.

    `given` is what --data said (a path, s3://…), `synthetic` is set where a stand-in
    was asked for, of `rows` rows (None: the real data's number),
    and `options` holds the recipe's data options (`source.options.split_seed`).
    """

    given: str | None = None
    synthetic: bool = False
    rows: int | None = None
    data_dir: Path | None = None
    cache_dir: Path = Path()
    options: Any = None
    progress: Progress = lambda name, done, total: None

    def file(self, wanted: Download) -> Path:
        """Return a local path of the wanted file, fetching it only where no place has it.

        Raises NotFoundError for a --data that does not exist, UnreachableError where it cannot be fetched,
        BadDataError where what came is not what was published.
        """
        return locate(self, wanted)


def locate(source: Source, wanted: Download) -> Path:
    """Return a local path of the wanted file; `Source.file` says in which order it is looked for.

    What --data gave is used or refused, never passed over. A downloaded file is checked against its pin
    before it gets its name; a file that a user put somewhere is taken as it is.

    Raises NotFoundError, UnreachableError, BadDataError, and ConfigurationError for a cache that cannot be
    written.
    """
    if source.given is not None:
        return _given(source, source.given, wanted)
    places = _places(source)
    for place in places:
        if (place / wanted.name).is_file():
            return place / wanted.name
    return _download(source, wanted, places)


def given_file(source: Source) -> Path:
    """Return a local path of the one file that --data, or the command line itself, names.

    Raises NotFoundError where there is none, and what s3.fetch raises.
    """
    given = source.given or ""
    if given.startswith("s3://"):
        from mlctl.data import s3  # boto3 is slow to import, and few ask for it

        return s3.fetch(given, given.rpartition("/")[2], source.cache_dir, source.progress)
    path = Path(given).expanduser()
    if not path.is_file():
        raise NotFoundError(f"there is no file {given}", "look at the path")
    return path


def given_path(source: Source) -> Path:
    """Return the folder that --data names, or `given_file`."""
    path = Path(source.given or "").expanduser()
    return path if path.is_dir() else given_file(source)


def origin(source: Source, wanted: Download, found: Path) -> str:
    """Say where a located file came from: an s3:// or https:// URL, or its path."""
    if source.given is not None and source.given.startswith("s3://"):
        return source.given
    return wanted.url if found.parent == _downloads(source) else str(found)


def sha256(paths: Iterable[Path]) -> str:
    """Return a digest of all the content of these files, in this order, whatever they are called.

    Of one file it is the file's own SHA-256; of several, that of their digests.
    """
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256"))
    if len(digests) == 1:
        return digests[0].hexdigest()
    return hashlib.sha256(b"".join(one.digest() for one in digests)).hexdigest()


def _downloads(source: Source) -> Path:
    return source.cache_dir / "downloads"


def _places(source: Source) -> list[Path]:
    places = [source.data_dir] if source.data_dir else []
    return [*places, Path("data"), _downloads(source)]


def _given(source: Source, given: str, wanted: Download) -> Path:
    if given.startswith("s3://"):
        from mlctl.data import s3  # boto3 is slow to import, and few ask for it

        return s3.fetch(given, wanted.name, source.cache_dir, source.progress)
    path = Path(given).expanduser()
    if path.is_dir():
        if (path / wanted.name).is_file():
            return path / wanted.name
        raise NotFoundError(f"{path} has no {wanted.name}", f"put {wanted.name} there, or give its own path")
    if not path.is_file():
        raise NotFoundError(f"--data {given}: there is no such file or folder", f"wanted is {wanted.name}")
    if path.name == wanted.name or path.suffix == Path(wanted.name).suffix:
        return path
    beside = path.parent / wanted.name  # a data set of several files, of which one was given
    if beside.is_file():
        return beside
    raise NotFoundError(
        f"--data {given} is not {wanted.name}, which is not beside it either", f"put {wanted.name} beside it"
    )


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


def _download(source: Source, wanted: Download, places: list[Path]) -> Path:
    final = _downloads(source) / wanted.name
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(final.with_name(wanted.name + ".lock")):
            if final.is_file():  # another run has fetched it while this one waited
                return final
            return _fetched(source, wanted, places, final)
    except OSError as exc:  # the network's own are translated further in
        raise writing(final, exc) from exc


def _fetched(source: Source, wanted: Download, places: list[Path], final: Path) -> Path:
    partial = _Partial(final.with_name(wanted.name + ".part"))
    for _ in range(2):  # a second time where what was left of an older try was not of this file
        _complete(source, wanted, places, partial)
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


def _complete(source: Source, wanted: Download, places: list[Path], partial: _Partial) -> None:
    """Fetch what is missing, going on where a connection broke as long as each try brings something."""
    for tries_left in reversed(range(RESUMES + 1)):
        before = partial.size
        try:
            _fetch(source, wanted, partial)
        except _BrokenError as exc:
            if partial.size <= before or not tries_left:
                _unreachable(wanted, places, partial, exc)
        else:
            return


def _unreachable(wanted: Download, places: list[Path], partial: _Partial, exc: _BrokenError) -> NoReturn:
    looked = ", ".join(str(place) for place in places)
    have = f"; {partial.size:,} bytes are kept, and the next try goes on from there" if partial.size else ""
    raise UnreachableError(
        f"{wanted.name} is not on this machine and cannot be fetched from {_host(wanted)}: {exc}{have}",
        f"looked in {looked}; give it with --data PATH or MLCTL_DATA_DIR, or try mlctl train digits,"
        " which needs no download",
    ) from exc


def _fetch(source: Source, wanted: Download, partial: _Partial) -> None:
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
                    source.progress(wanted.name, have, total)
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
        return _hexdigest(file, algorithm)


def _hexdigest(file: IO[bytes], algorithm: str) -> str:
    return hashlib.file_digest(file, algorithm).hexdigest()  # type: ignore[arg-type]  # typeshed wants a concrete file


def _host(wanted: Download) -> str:
    return urlsplit(wanted.url).hostname or wanted.url
