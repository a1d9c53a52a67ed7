"""Find a data file: the location that --data names, the data folders, the cache, and finally a download."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlctl.data.sources.cache import Progress
from mlctl.data.sources.download import Download, fetch_download
from mlctl.errors import NotFoundError


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a recipe's data comes from: the argument of a recipe's `load`.

    Args:
        location: What --data names: a path or s3://…; None if it was not passed.
        synthetic: Generate synthetic data instead.
        rows: Number of synthetic rows; None for the number of the real data.
        data_dir: Folder in which files are searched first.
        cache_dir: Folder for downloads.
        options: The recipe's data options (`source.options.split_seed`).
        progress: Called with (file name, bytes so far, bytes in all) during a download.
    """

    location: str | None = None
    synthetic: bool = False
    rows: int | None = None
    data_dir: Path | None = None
    cache_dir: Path = Path()
    options: Any = None
    progress: Progress = lambda name, done, total: None

    @property
    def given(self) -> str | None:
        """An earlier name of `location`, which recipes use."""
        return self.location

    def file(self, download: Download) -> Path:
        """Return a local path of a published file; it is downloaded only if no data folder has it.

        The file is searched in the location that --data names, and nowhere else if --data is passed; then in
        `data_dir`, ./data and the cache. A downloaded file is verified against its checksum. A file that a user put
        into a folder is not.

        Raises NotFoundError if --data does not exist or lacks the file, UnreachableError if the file cannot be
        downloaded, BadDataError if the download is not the published file, ConfigurationError if the cache cannot be
        written.
        """
        if self.location is not None:
            return _file_at(self, self.location, download.name)
        folders = [*([self.data_dir] if self.data_dir else []), Path("data"), _downloads(self)]
        for folder in folders:
            if (folder / download.name).is_file():
                return folder / download.name
        return fetch_download(download, _downloads(self), searched=folders, progress=self.progress)


def local_file(source: Source) -> Path:
    """Return a local path of the one file that --data, or the command line itself, names.

    Raises NotFoundError if it does not exist, and what `fetch_object` raises.
    """
    location = source.location or ""
    if _is_s3(location):
        return _fetch_object(source, location, location.rpartition("/")[2])
    path = Path(location).expanduser()
    if not Path(str(path).partition("::")[0]).is_file():  # FILE.db::TABLE
        raise NotFoundError(f"there is no file {location}", "check the path")
    return path


def local_path(source: Source) -> Path:
    """Return the folder that --data names, or `local_file`."""
    path = Path(source.location or "").expanduser()
    return path if path.is_dir() else local_file(source)


def origin(source: Source, download: Download, path: Path) -> str:
    """Return where a located file came from: an s3:// or https:// URL, or its path."""
    if source.location is not None and _is_s3(source.location):
        return source.location
    return download.url if path.parent == _downloads(source) else str(path)


def sha256(paths: Iterable[Path]) -> str:
    """Return a digest of the content of these files, in this order, independent of their names.

    The digest of one file is its own SHA-256; that of several is the SHA-256 of their digests.
    """
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256"))
    if len(digests) == 1:
        return digests[0].hexdigest()
    return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()


def _is_s3(location: str) -> bool:
    return location.startswith("s3://")


def _downloads(source: Source) -> Path:
    return source.cache_dir / "downloads"


def _fetch_object(source: Source, url: str, name: str) -> Path:
    from mlctl.data.sources.s3 import fetch_object  # boto3 is slow to import, and rarely needed

    return fetch_object(url, name, cache_dir=source.cache_dir, progress=source.progress)


def _file_at(source: Source, location: str, name: str) -> Path:
    """Return the file `name` at the location that --data names: in it, beside it, or the location itself."""
    if _is_s3(location):
        return _fetch_object(source, location, name)
    path = Path(location).expanduser()
    if path.is_dir():
        if (path / name).is_file():
            return path / name
        raise NotFoundError(f"{path} has no {name}", f"put {name} there, or pass its own path")
    if not path.is_file():
        raise NotFoundError(
            f"--data {location}: there is no such file or folder", f"pass a path of {name}, or its folder"
        )
    if path.name == name or path.suffix == Path(name).suffix:
        return path
    beside = path.parent / name  # the data set has several files, and --data names another of them
    if beside.is_file():
        return beside
    raise NotFoundError(
        f"--data {location} is not {name}, and {name} is not beside it", f"put {name} beside it"
    )
