"""Taking away for ever what was deleted, with its artifacts, and nothing that a registered version needs."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlctl.adapters import database, graveyard
from mlctl.adapters.artifacts import Folder, Store, store_of
from mlctl.adapters.graveyard import Grave
from mlctl.domain.server import Place, Sweep
from mlctl.errors import NotFoundError


def sweep(place: Place, really: bool) -> Sweep:
    """Return what would be freed, or free it.

    Artifacts go first and rows last, so that a sweep that was cut short can be said again.
    """
    if (file := place.backend.sqlite_file) and not file.exists():
        raise NotFoundError(f"there is no database at {file}", "look at --root, or name --backend")
    database.verify(place.backend, upgrade=False)
    graves, held = graveyard.deleted(place.backend)
    objects, size = 0, 0
    seen: set[tuple[str, str]] = set()
    for grave in sorted(graves, key=lambda one: one.kind == "experiment"):
        store, prefix = _artifacts(grave, place)
        keys = []
        for key, length in store.sizes(prefix):
            if (mark := (str(getattr(store, "root", "")), key)) not in seen:
                seen.add(mark)
                keys.append(key)
                size += length
        objects += len(keys)
        if really:
            store.delete(keys)
    if really:
        graveyard.bury(place.backend, graves)
    ids = {
        kind: tuple(one.id for one in graves if one.kind == kind) for kind in ("run", "experiment", "model")
    }
    return Sweep(ids["run"], ids["experiment"], ids["model"], tuple(held), objects, size, really)


def _artifacts(grave: Grave, place: Place) -> tuple[Store, str]:
    """Return where the artifacts of one deleted thing are: a store, and a prefix in it that ends with a slash."""
    location = re.sub(r"/artifacts/?$", "", grave.location).rstrip("/")
    if location.startswith("mlflow-artifacts:"):
        prefix = unquote(urlsplit(location).path).strip("/")
    elif place.bucket and location.startswith(f"{place.bucket.uri}/"):
        prefix = location.removeprefix(f"{place.bucket.uri}/")
    elif location.startswith(("/", "file:", ".")):
        path = Path(unquote(urlsplit(location).path) if location.startswith("file:") else location)
        return Folder(path if path.is_absolute() else place.root / path), ""
    else:
        return Folder(
            place.root / ".nowhere"
        ), ""  # another store's: its rows go, its bytes are not ours to delete
    if not prefix.endswith(grave.id):
        return Folder(place.root / ".nowhere"), ""  # a place that somebody chose: it may hold other things
    return store_of(place), f"{prefix}/"
