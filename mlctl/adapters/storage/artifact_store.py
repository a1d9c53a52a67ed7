"""Where a tracking server keeps its artifacts: a folder or a bucket, with the same few methods."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from mlctl.adapters.storage.cloud_artifacts import CloudArtifacts
from mlctl.domain.server import Bucket, ServerLocation
from mlctl.errors import BadDataError, NotFoundError, RefusedError
from mlctl.files import atomic_writer

if TYPE_CHECKING:
    from mlctl.s3 import S3Bucket

UPLOADING = ".artifact.uploading."  # MLflow's prefix of a file that a client is still sending
COPY_CHUNK_BYTES = 1 << 20


class ArtifactStore(Protocol):
    """Files by key: a folder or a bucket. Keys are relative and use slashes."""

    def sizes(self, under: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, bytes) of everything below a prefix that ends with a slash, or of everything."""

    def open(self, key: str) -> Any:
        """Open a file for reading; raises NotFoundError if it is gone."""

    def put(self, key: str, body: Any) -> None:
        """Store the content of a readable."""

    def put_file(self, key: str, file: Path) -> None:
        """Store a file."""

    def delete(self, keys: Iterable[str]) -> int:
        """Delete files; return how many there were."""


class ArtifactFolder:
    """Artifacts in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def sizes(self, under: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, bytes), sorted; files that are still being sent are left out."""
        for folder, subfolders, files in os.walk(self.root / under):
            subfolders.sort()
            for name in sorted(files):
                if UPLOADING not in name:
                    file = Path(folder, name)
                    with contextlib.suppress(FileNotFoundError):  # it was deleted meanwhile
                        yield file.relative_to(self.root).as_posix(), file.stat().st_size

    def open(self, key: str) -> IO[bytes]:
        """Open a file for reading; raises NotFoundError if it is gone."""
        file = self._file(key)
        try:
            return file.open("rb")
        except FileNotFoundError as exc:
            raise NotFoundError(f"there is no file {file}", "check whether it was deleted meanwhile") from exc
        except OSError as exc:
            raise RefusedError(f"cannot read {file}: {exc.strerror}", "check its owner") from exc

    def put(self, key: str, body: Any) -> None:
        """Write a file atomically."""
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_writer(file, part=file.with_name(f"{UPLOADING}{file.name}")) as output:
                shutil.copyfileobj(body, output, COPY_CHUNK_BYTES)
        except OSError as exc:
            raise RefusedError(f"cannot write {file}: {exc.strerror}", "check the free disk space") from exc

    def put_file(self, key: str, file: Path) -> None:
        """Copy a file."""
        with file.open("rb") as body:
            self.put(key, body)

    def delete(self, keys: Iterable[str]) -> int:
        """Delete files, and folders that become empty; return how many files there were."""
        deleted, folders, root = 0, set(), self.root.resolve()
        for key in keys:
            file = self._file(key)
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
                deleted += 1
            folders.add(file.parent)
        for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
            while folder not in (root, folder.parent):
                try:
                    folder.rmdir()
                except OSError:
                    break
                folder = folder.parent
        return deleted

    def _file(self, key: str) -> Path:
        file = (self.root / key).resolve()
        if not file.is_relative_to(self.root.resolve()):
            raise BadDataError(f"{key!r} is outside {self.root}", "restore only backups that mlctl made")
        return file


def open_artifact_store(location: ServerLocation) -> ArtifactStore:
    """Return the artifacts of a server."""
    if location.cloud:
        return CloudArtifacts(location.cloud)
    return open_artifact_bucket(location.bucket) if location.bucket else ArtifactFolder(location.folder)


def open_artifact_bucket(bucket: Bucket, *, is_probe: bool = False) -> S3Bucket:
    """Return a bucket, by default at MLflow's endpoint (MLFLOW_S3_ENDPOINT_URL); a probe gives up after a second."""
    from mlctl.s3 import BULK, PROBE, S3Bucket  # importing boto3 takes a third of a second

    endpoint = bucket.endpoint_url or os.environ.get("MLFLOW_S3_ENDPOINT_URL")
    return S3Bucket(replace(bucket, endpoint_url=endpoint), PROBE if is_probe else BULK)
