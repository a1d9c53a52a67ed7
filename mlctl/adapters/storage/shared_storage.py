"""Files that all nodes of a cluster can reach: a shared folder, or a folder of a bucket."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from mlctl.adapters.storage.artifact_store import open_artifact_bucket
from mlctl.errors import ConfigurationError, NotFoundError
from mlctl.files import atomic_writer
from mlctl.s3 import S3Bucket, bucket_of_url


@dataclass(frozen=True)
class SharedStorage:
    """Files by key. Each node receives a copy of this value, and uses its own S3 credentials and endpoint.

    Args:
        uri: Absolute path of a folder, or s3://BUCKET/FOLDER.
    """

    uri: str

    @classmethod
    def parse(cls, text: str) -> SharedStorage:
        """Return the storage that a user named."""
        return cls(text.rstrip("/") if text.startswith("s3://") else str(Path(text).expanduser().absolute()))

    def subfolder(self, name: str) -> SharedStorage:
        """Return a folder of this storage."""
        return SharedStorage(f"{self.uri}/{name}")

    @property
    def folder(self) -> Path | None:
        """The shared folder; None for a bucket."""
        return None if self.uri.startswith("s3://") else Path(self.uri)

    def put(self, key: str, file: Path) -> None:
        """Store a file atomically; raises ConfigurationError if the folder cannot be written, or S3Bucket's errors."""
        if self.folder is None:
            self._bucket().put_file(key, file)
            return
        target = self.folder / key
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as source, atomic_writer(target) as output:
                shutil.copyfileobj(source, output)
        except OSError as exc:
            raise ConfigurationError(
                f"cannot write to --storage {self.folder}: {exc.strerror}", "name a writable folder"
            ) from exc

    def fetch(self, key: str) -> Path:
        """Return a file for reading: the shared file itself, or a copy that the processes of this node share.

        Raises NotFoundError if this node does not see the file.
        """
        if self.folder is not None:
            path = self.folder / key
            if not path.is_file():
                raise NotFoundError(
                    f"there is no file {path}", "mount --storage at the same path on every node"
                )
            return path
        copy = self._copies / key
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with atomic_writer(copy, mode=0o600) as output:
                shutil.copyfileobj(self._bucket().open(key), output)
        return copy

    def names(self) -> list[str]:
        """Return the keys of all files, sorted."""
        if self.folder is None:
            return sorted(key for key, _ in self._bucket().sizes())
        files = self.folder.rglob("*") if self.folder.is_dir() else ()
        return sorted(path.relative_to(self.folder).as_posix() for path in files if path.is_file())

    @contextmanager
    def opened(self, key: str) -> Iterator[IO[bytes]]:
        """Open a file for reading; one of a bucket is copied for the duration of the block."""
        if self.folder is not None:
            with (self.folder / key).open("rb") as file:
                yield file
            return
        with tempfile.TemporaryFile(prefix="mlctl-") as copy:
            shutil.copyfileobj(self._bucket().open(key), copy)
            copy.seek(0)
            yield copy

    def remove(self, *keys: str) -> None:
        """Delete files; one that is gone is no error."""
        if self.folder is None:
            self._bucket().delete(keys)
            return
        for key in keys:
            (self.folder / key).unlink(missing_ok=True)

    def delete_copies(self) -> None:
        """Delete the copies on this node."""
        if self.folder is None:
            shutil.rmtree(self._copies, ignore_errors=True)

    def delete(self) -> None:
        """Delete everything in this storage, and the copies on this node."""
        self.delete_copies()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        bucket = self._bucket()
        bucket.delete([key for key, _ in bucket.sizes()])

    @property
    def _copies(self) -> Path:
        name = sha256(self.uri.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"mlctl-{os.getuid()}" / name

    def _bucket(self) -> S3Bucket:
        return open_artifact_bucket(bucket_of_url(self.uri))
