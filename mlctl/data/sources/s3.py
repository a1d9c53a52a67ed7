"""A data file in a bucket, fetched once per content."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from mlctl.data.sources.cache import Progress, cache_error
from mlctl.errors import ConfigurationError, NotFoundError, RefusedError, UsageError
from mlctl.files import atomic_writer
from mlctl.s3 import FETCH, S3Bucket, S3Object, bucket_of_url

CHUNK_BYTES = 1 << 20
DATA_SUFFIXES = (".npz", ".csv", ".json")


def fetch_object(url: str, name: str, *, cache_dir: Path, progress: Progress) -> Path:
    """Return a local copy of the object at `url`, or of the object `name` under it or beside it.

    The cache keeps a copy per ETag: the same content is fetched once, new content again.

    Raises NotFoundError, UnreachableError, and ConfigurationError if the credentials are missing or refused.
    """
    location = bucket_of_url(url)
    if not location.name:
        raise NotFoundError(f"{url} names no bucket", "write s3://BUCKET/KEY or s3://BUCKET/FOLDER")
    key = _key(location.prefix, name)
    try:
        source = S3Bucket(replace(location, prefix=""), FETCH).open(key)
        try:
            path = cache_dir / "s3" / re.sub(r"[^\w.-]", "", source.etag) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(name + ".lock")):
                if not path.is_file():
                    _copy(source, path, progress)
        finally:
            source.close()
    except (RefusedError, UsageError) as exc:  # these credentials or this endpoint cannot be right
        raise ConfigurationError(f"cannot read s3://{location.name}/{key}: {exc.message}", exc.hint) from exc
    except OSError as exc:
        raise cache_error(cache_dir / "s3", exc) from exc
    return path


def _key(prefix: str, name: str) -> str:
    """Return the key of `name`: the prefix itself if it is such a file, else `name` beside or below it."""
    last = prefix.rpartition("/")[2]
    if prefix and Path(last).suffix == Path(name).suffix:
        return prefix
    if prefix and Path(last).suffix in DATA_SUFFIXES:  # the user named one file of several
        return prefix[: -len(last)] + name
    return f"{prefix}/{name}".lstrip("/")


def _copy(source: S3Object, path: Path, progress: Progress) -> None:
    copied = 0
    # a fixed name: the next attempt overwrites what a killed one left
    with atomic_writer(path, part=path.with_name(f"{path.name}.part")) as file:
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
            copied += len(chunk)
            progress(path.name, copied, source.size)
