"""List artifacts in a folder of this machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlctl.adapters.tracking.clients.entities import FileEntity

UNFINISHED_PREFIX = ".artifact.uploading."  # of MLflow's temporary files


def local_folder(artifact_uri: str) -> Path | None:
    """Return the folder that an artifact URI names; None for another kind of store."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Path(unquote(parts.path))
    return Path(artifact_uri) if not parts.scheme and artifact_uri else None


def list_folder(root: Path, path: str | None) -> list[FileEntity] | None:
    """Return what is in a folder below the root, as MLflow lists it: nothing for a file; None: it is not below."""
    folder = root / os.path.normpath(path or ".")
    if not folder.resolve().is_relative_to(root.resolve()):
        return None
    if not folder.is_dir():
        return []
    files = []
    for file in sorted(folder.iterdir()):
        with contextlib.suppress(FileNotFoundError):  # a training replaces files
            if not file.name.startswith(UNFINISHED_PREFIX):
                is_folder, size = file.is_dir(), file.stat().st_size
                files.append(
                    FileEntity(
                        path=file.relative_to(root).as_posix(),
                        is_dir=is_folder,
                        file_size=None if is_folder else size,
                    )
                )
    return files
