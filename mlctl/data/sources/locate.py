"""Where a data file is found: what --data gave, the data folders, the cache, and at last the download."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlctl.data.sources.cache import Progress
from mlctl.data.sources.download import Download, fetch
from mlctl.errors import NotFoundError


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
    return fetch(wanted, _downloads(source), places, source.progress)


def given_file(source: Source) -> Path:
    """Return a local path of the one file that --data, or the command line itself, names.

    Raises NotFoundError where there is none, and what s3.fetch raises.
    """
    given = source.given or ""
    if given.startswith("s3://"):
        from mlctl.data.sources import s3  # boto3 is slow to import, and few ask for it

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
        from mlctl.data.sources import s3  # boto3 is slow to import, and few ask for it

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
