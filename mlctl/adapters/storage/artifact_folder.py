"""A folder of artifacts, with the same few verbs that a bucket has."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from mlctl.domain.server import ServerLocation
from mlctl.errors import BadDataError, NotFoundError, RefusedError

UNFINISHED = ".artifact.uploading."  # what MLflow calls a file that a client is still sending


class ArtifactStore(Protocol):
    """Keyed bytes: a folder or a bucket. Keys are relative and use slashes."""

    def sizes(self, under: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, bytes) of everything under a prefix that ends with a slash, or of everything."""

    def open(self, key: str) -> Any:
        """Return its bytes to read from; raises NotFoundError where it is gone."""

    def put(self, key: str, body: Any) -> None:
        """Keep what a readable holds."""

    def put_file(self, key: str, file: Path) -> None:
        """Keep a file's content."""

    def delete(self, keys: Iterable[str]) -> int:
        """Delete; return how many were."""


class ArtifactFolder:
    """Artifacts on a disk of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def sizes(self, under: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, bytes), in order; what is still being sent is not there yet."""
        for folder, folders, files in os.walk(self.root / under):
            folders.sort()
            for name in sorted(files):
                if UNFINISHED not in name:
                    file = Path(folder, name)
                    with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
                        yield file.relative_to(self.root).as_posix(), file.stat().st_size

    def open(self, key: str) -> IO[bytes]:
        """Open a file; raises NotFoundError where it is gone."""
        file = self._file(key)
        try:
            return file.open("rb")
        except FileNotFoundError as exc:
            raise NotFoundError(f"{file} is not there", "has it been deleted meanwhile?") from exc
        except OSError as exc:
            raise RefusedError(f"{file} cannot be read: {exc.strerror}", "look at its owner") from exc

    def put(self, key: str, body: Any) -> None:
        """Write a file, all or nothing."""
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{UNFINISHED}{file.name}")
        try:
            with part.open("wb") as out:
                shutil.copyfileobj(body, out, 1 << 20)
            part.replace(file)
        except OSError as exc:
            part.unlink(missing_ok=True)
            raise RefusedError(f"{file} cannot be written: {exc.strerror}", "look at the free space") from exc

    def put_file(self, key: str, file: Path) -> None:
        """Copy a file."""
        with file.open("rb") as body:
            self.put(key, body)

    def delete(self, keys: Iterable[str]) -> int:
        """Delete files, and the folders that this leaves empty."""
        total, folders, root = 0, set(), self.root.resolve()
        for key in keys:
            file = self._file(key)
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
                total += 1
            folders.add(file.parent)
        for folder in sorted(folders, key=lambda one: -len(one.parts)):
            while folder not in (root, folder.parent):
                try:
                    folder.rmdir()
                except OSError:
                    break
                folder = folder.parent  # climbing
        return total

    def _file(self, key: str) -> Path:
        file = (self.root / key).resolve()
        if not file.is_relative_to(self.root.resolve()):
            raise BadDataError(
                f"{key!r} leads out of {self.root}", "this is not a backup that mlctl has made"
            )
        return file


def store_of(place: ServerLocation) -> ArtifactStore:
    """Return the artifacts of a server's place."""
    if place.bucket:
        from mlctl.adapters.storage.s3 import (
            S3Storage as Bucket,
        )  # boto3 takes a third of a second, wanted only here

        return Bucket(place.bucket)
    return ArtifactFolder(place.folder)
