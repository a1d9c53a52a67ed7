"""Copy artifacts from one store to another, and compare every file with its original."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlctl.errors import BadDataError


@dataclass
class CopiedFiles:
    """How much was copied."""

    files: int = 0
    size_bytes: int = 0


def local_path(uri: str) -> Path | None:
    """Return the folder that a URI names on this machine; None for a bucket or a server."""
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"}:
        return None
    return Path(unquote(parts.path) if parts.scheme else uri)


def fetch_folder(artifact_uri: str, folder: Path, tracking_uri: str | None = None) -> Path | None:
    """Return a local folder with these artifacts, downloaded into `folder` if necessary; None if there are none."""
    if (path := local_path(artifact_uri)) is not None:
        return path if path.is_dir() else None
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # it takes seconds

    found = get_artifact_repository(artifact_uri, tracking_uri=tracking_uri)
    if not found.list_artifacts():
        return None
    return Path(found.download_artifacts("", str(folder)))


def copy_folder(source: Path, target_uri: str, copied: CopiedFiles) -> None:
    """Copy a folder to an artifact location; files that are there already stay. Raises BadDataError for a bad copy."""
    target = local_path(target_uri)
    if target is None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        get_artifact_repository(target_uri).log_artifacts(str(source))
        with tempfile.TemporaryDirectory() as folder:  # read it back: a bucket may have refused a part
            fetched = fetch_folder(target_uri, Path(folder))
            _compare(source, fetched or Path(folder), copied)
        return
    for file in _files(source):
        copy = target / file.relative_to(source)
        if not copy.is_file() or copy.stat().st_size != file.stat().st_size:
            copy.parent.mkdir(parents=True, exist_ok=True)
            part = copy.with_name(f".{copy.name}.part")
            shutil.copyfile(file, part)
            part.replace(copy)
    _compare(source, target, copied)


def _compare(source: Path, copy: Path, copied: CopiedFiles) -> None:
    for file in _files(source):
        other = copy / file.relative_to(source)
        if not other.is_file() or _sha256(file) != _sha256(other):
            raise BadDataError(
                f"the copy of {file} differs from it", "check the disk, and run the command again"
            )
        copied.files += 1
        copied.size_bytes += file.stat().st_size


def _files(folder: Path) -> list[Path]:
    return [
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in sorted(names)
        if not name.startswith(".artifact.uploading.")
    ]


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
