"""A place that all nodes of a cluster reach: a shared folder, or a bucket's folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from mlctl.adapters.storage import s3
from mlctl.domain.server import Bucket
from mlctl.errors import ConfigurationError, NotFoundError


@dataclass(frozen=True)
class SharedStorage:
    """Files by key below `place`, an absolute folder or s3://BUCKET/FOLDER. It is sent to nodes as it is.

    A file is there whole or not at all. Credentials and endpoint of S3 are each node's own.
    """

    place: str

    @classmethod
    def at(cls, place: str) -> SharedStorage:
        """Return the storage of what was typed."""
        return cls(
            place.rstrip("/") if place.startswith("s3://") else str(Path(place).expanduser().absolute())
        )

    def below(self, name: str) -> SharedStorage:
        """Return a folder of it."""
        return SharedStorage(f"{self.place}/{name}")

    @property
    def folder(self) -> Path | None:
        """The shared folder; None for a bucket."""
        return None if self.place.startswith("s3://") else Path(self.place)

    def put(self, key: str, file: Path) -> None:
        """Store a file; raises what S3 does, ConfigurationError where the folder takes nothing."""
        if self.folder is None:
            self._bucket().put_file(key, file)
            return
        target = self.folder / key
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, part)
            part.replace(target)
        except OSError as exc:
            raise ConfigurationError(
                f"--storage {self.folder} takes no file: {exc.strerror}",
                "name a folder that can be written to",
            ) from exc

    def fetch(self, key: str) -> Path:
        """Return a file to read from: the shared one itself, or a copy that this node's processes share.

        Raises NotFoundError where this node does not see it.
        """
        if self.folder is not None:
            if not (self.folder / key).is_file():
                raise NotFoundError(
                    f"{self.folder / key} is not there", "is --storage mounted at this path on every node?"
                )
            return self.folder / key
        target = self._copies / key
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, part = tempfile.mkstemp(dir=target.parent)
            with os.fdopen(descriptor, "wb") as file:
                shutil.copyfileobj(self._bucket().open(key), file)
            Path(part).replace(target)
        return target

    def forget(self) -> None:
        """Take this node's copies away."""
        if self.folder is None:
            shutil.rmtree(self._copies, ignore_errors=True)

    def remove(self) -> None:
        """Take away all that is below this place."""
        self.forget()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        bucket = self._bucket()
        bucket.delete([key for key, _ in bucket.sizes()])

    @property
    def _copies(self) -> Path:
        name = sha256(self.place.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"mlctl-{os.getuid()}" / name

    def _bucket(self) -> s3.S3Storage:
        parts = urlsplit(self.place)
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return s3.S3Storage(Bucket(parts.netloc, parts.path.strip("/"), endpoint))
