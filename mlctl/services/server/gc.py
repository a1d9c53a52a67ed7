"""Permanently remove deleted runs, experiments and models with their artifacts, and nothing that is still needed.

A user may have chosen an experiment's artifact location, and may have other files there. So only a folder that is
named after the deleted item's id, and that holds nothing of an active item, is removed. Any other folder stays, and
the report names it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from mlctl.adapters.database import connection, deleted_items
from mlctl.adapters.database.deleted_items import DeletedItem
from mlctl.adapters.storage.artifact_store import ArtifactFolder, open_artifact_store
from mlctl.domain.server import GcReport, ServerLocation
from mlctl.errors import NotFoundError
from mlctl.services.server import artifact_uri


def collect_garbage(location: ServerLocation, *, delete: bool, older_than_s: float = 0) -> GcReport:
    """Report what can be freed; free it if `delete`.

    Artifacts are deleted first and rows last, so that the user can repeat a command that was interrupted.

    Args:
        location: The server's location.
        delete: Free it.
        older_than_s: Leave what was deleted in the last so many seconds.
    """
    if (file := location.backend.sqlite_file) and not file.exists():
        raise NotFoundError(
            f"there is no database at {file}", "check --root, or name the database: --backend"
        )
    connection.check_database(location.backend, upgrade=False)
    limit_ms = round((time.time() - older_than_s) * 1000) if older_than_s else None
    found = deleted_items.find_deleted_items(location.backend, deleted_before_ms=limit_ms)
    used_paths = _used_paths(found.kept_locations, location)
    server_store, base = open_artifact_store(location), artifact_uri.base(location)
    objects, size_bytes = 0, 0
    counted: set[PurePosixPath] = set()
    left_alone = []
    for item in sorted(found.items, key=lambda item: item.kind == "experiment"):
        path = _own_path(item, location)
        is_in_store = path.is_relative_to(base)
        is_known = is_in_store or path.is_absolute()  # mlctl does not delete in another store
        if not is_known or path.name != item.id or ".." in path.parts or path in used_paths:
            left_alone.append(f"{item.location}, of {item.kind} {item.id}")
            continue
        store, parent = (
            (server_store, base) if is_in_store else (ArtifactFolder(Path(path.parent)), path.parent)
        )
        artifacts = [
            (key, size)
            for key, size in store.sizes(f"{path.relative_to(parent)}/")
            if parent / key not in counted
        ]
        counted.update(parent / key for key, _ in artifacts)
        objects += len(artifacts)
        size_bytes += sum(size for _, size in artifacts)
        if delete:
            store.delete(key for key, _ in artifacts)
    if delete:
        deleted_items.purge(location.backend, found.items)
    ids = {
        kind: tuple(item.id for item in found.items if item.kind == kind)
        for kind in ("run", "experiment", "model")
    }
    return GcReport(
        backend=location.backend.display_uri,
        runs=ids["run"],
        experiments=ids["experiment"],
        models=ids["model"],
        held=tuple(found.held),
        left_alone=tuple(left_alone),
        objects=objects,
        size_bytes=size_bytes,
        done=delete,
        older_than_s=older_than_s,
        recent=found.recent,
    )


def _used_paths(uris: Iterable[str], location: ServerLocation) -> set[PurePosixPath]:
    """Return the paths of the database, of the artifact store and of these artifact locations, with all parents."""
    database = location.backend.sqlite_file
    used: set[PurePosixPath] = set()
    for path in (
        artifact_uri.base(location),
        *([PurePosixPath(database.resolve())] if database else []),
        *(artifact_uri.normalize(uri, location) for uri in uris),
    ):
        used |= {path, *path.parents}
    return used


def _own_path(item: DeletedItem, location: ServerLocation) -> PurePosixPath:
    """Return the folder that belongs to a deleted item; the artifacts of a run or a model are in a subfolder."""
    uri = item.location if item.kind == "experiment" else re.sub(r"/artifacts/?$", "", item.location)
    return artifact_uri.normalize(uri, location)
