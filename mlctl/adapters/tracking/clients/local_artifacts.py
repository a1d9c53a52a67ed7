"""List artifacts in a folder of this machine."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlctl.adapters.tracking.clients.entities import FileEntity


def local_folder(artifact_uri: str) -> Path | None:
    """Return the folder that an artifact URI names; None for another kind of store."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Path(unquote(parts.path))
    return Path(artifact_uri) if not parts.scheme and artifact_uri else None


def list_folder(root: Path, path: str | None) -> list[FileEntity] | None:
    """Return what is in a folder below the root, as MLflow lists it: nothing for a file; None: it is not below."""
    folder = root / (path or "")
    if not folder.resolve().is_relative_to(root.resolve()):
        return None
    if not folder.is_dir():
        return []
    return [
        FileEntity(
            path=file.relative_to(root).as_posix(),
            is_dir=file.is_dir(),
            file_size=None if file.is_dir() else file.stat().st_size,
        )
        for file in sorted(folder.iterdir())
    ]
