"""Taking away for ever what was deleted, with its artifacts, and nothing that anybody else needs.

A user may have chosen an experiment's place (`artifact_location`), and have other things in it. So what is taken
is a folder that bears the deleted thing's own id, and that nothing living is in; any other is left alone, and
named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from mlctl.adapters.database import connection, deleted_items
from mlctl.adapters.database.deleted_items import DeletedItem
from mlctl.adapters.storage.artifact_folder import ArtifactFolder, store_of
from mlctl.domain.server import GcReport, ServerLocation
from mlctl.errors import NotFoundError
from mlctl.services.server import artifact_uri


def sweep(place: ServerLocation, really: bool) -> GcReport:
    """Return what would be freed, or free it.

    Artifacts go first and rows last, so that a sweep that was cut short can be said again.
    """
    if (file := place.backend.sqlite_file) and not file.exists():
        raise NotFoundError(f"there is no database at {file}", "look at --root, or name --backend")
    connection.verify(place.backend, upgrade=False)
    found = deleted_items.deleted(place.backend)
    occupied = _occupied(found.living, place)
    served, base = store_of(place), artifact_uri.base(place)
    objects, size = 0, 0
    seen: set[PurePosixPath] = set()
    left_alone = []
    for grave in sorted(found.graves, key=lambda one: one.kind == "experiment"):
        where = _place_of(grave, place)
        inside = where.is_relative_to(base)
        known = inside or where.is_absolute()  # another store's bytes are not ours to delete
        if not known or where.name != grave.id or ".." in where.parts or where in occupied:
            left_alone.append(f"{grave.location}, of {grave.kind} {grave.id}")
            continue
        store, above = (served, base) if inside else (ArtifactFolder(Path(where.parent)), where.parent)
        found_here = [
            one for one in store.sizes(f"{where.relative_to(above)}/") if above / one[0] not in seen
        ]
        seen.update(above / key for key, _ in found_here)
        objects += len(found_here)
        size += sum(length for _, length in found_here)
        if really:
            store.delete(key for key, _ in found_here)
    if really:
        deleted_items.purge(place.backend, found.graves)
    ids = {
        kind: tuple(one.id for one in found.graves if one.kind == kind)
        for kind in ("run", "experiment", "model")
    }
    return GcReport(
        place.backend.shown, ids["run"], ids["experiment"], ids["model"], tuple(found.held), tuple(left_alone),
        objects, size, really,
    )  # fmt: skip


def _occupied(living: Iterable[str], place: ServerLocation) -> set[PurePosixPath]:
    """Return every place that something living is at or in: it, and all above it."""
    occupied: set[PurePosixPath] = set()
    file = place.backend.sqlite_file
    for where in (
        artifact_uri.base(place),
        *([PurePosixPath(file.resolve())] if file else []),
        *(artifact_uri.of(one, place) for one in living),
    ):
        while where not in occupied:
            occupied.add(where)
            where = where.parent
    return occupied


def _place_of(grave: DeletedItem, place: ServerLocation) -> PurePosixPath:
    """Return the folder that is a deleted thing's own: a run's and a model's artifacts are in one of its name."""
    own = grave.location if grave.kind == "experiment" else re.sub(r"/artifacts/?$", "", grave.location)
    return artifact_uri.of(own, place)
