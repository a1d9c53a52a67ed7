"""Moving what a local client has made behind the server.

An experiment made without a server names a folder of its machine. Over HTTP a client would be given that path
and write to its own disk. Copy first, then one transaction that changes every name, then delete: at every
moment each artifact can be found where the database says it is. A folder that a user has chosen
(`artifact_location`) may hold other things: of it, only what runs, models and traces are known to have is moved.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlctl.adapters.database import connection
from mlctl.adapters.database.active_runs import active_runs
from mlctl.adapters.storage.artifact_folder import ArtifactFolder, store_of
from mlctl.adapters.system import local_servers
from mlctl.domain.server import Adoption, ServerLocation, StrayExperiment
from mlctl.errors import ChildFailedError, RefusedError


def plan(place: ServerLocation) -> Adoption:
    """Return what would be moved, and what cannot be: a folder of another machine, or of several experiments."""
    movable, elsewhere = [], []
    strays = connection.strays(place.backend)
    folders = {stray.experiment_id: _folder(stray, place) for stray in strays}
    for stray in strays:
        folder = folders[stray.experiment_id]
        others = [one for number, one in folders.items() if number != stray.experiment_id]
        shared = any(one.is_relative_to(folder) or folder.is_relative_to(one) for one in others)
        if not shared and (folder.is_dir() or folder.is_relative_to(place.root)):
            sizes = [size for _, size in _owned(stray, place)]
            movable.append(replace(stray, files=len(sizes), size_bytes=sum(sizes)))
        else:
            elsewhere.append(stray)
    return Adoption(tuple(movable), tuple(elsewhere), place.destination)


def demand_quiet(place: ServerLocation, planned: Adoption, state_dir: Path) -> None:
    """Return where nobody writes what is to be moved, as far as this machine and the database know.

    Raises RefusedError while a server is up on the database, or a run of these experiments is alive.
    """
    for note in local_servers.live_on(state_dir, place.backend.uri):
        raise RefusedError(
            f"{note['name']} is up, and its clients may be writing",
            f"stop it first: mlctl server-down --name {note['name']}",
        )
    moved = {stray.experiment_id: stray.name for stray in planned.movable}
    for run in active_runs(place.backend):
        if run.experiment_id in moved:
            raise RefusedError(
                f"run {run.run_id[:8]} of {moved[run.experiment_id]} is alive, and writes to what is to be moved",
                "wait for its end: mlctl runs watch",
            )


def adopt(place: ServerLocation, planned: Adoption) -> Adoption:
    """Move what was planned; return it. Raises ChildFailedError where a copy is not what it should be."""
    kept = store_of(place)
    for stray in planned.movable:
        source = ArtifactFolder(_folder(stray, place))
        for key, _ in _owned(stray, place):
            kept.put_file(f"{stray.experiment_id}/{key}", source.root / key)
        arrived = dict(kept.sizes(f"{stray.experiment_id}/"))
        for key, size in _owned(stray, place):
            if arrived.get(f"{stray.experiment_id}/{key}") != size:
                raise ChildFailedError(
                    f"{key} of {stray.name} did not arrive whole", "nothing was changed; say it again"
                )
        root = place.destination if place.direct else "mlflow-artifacts:"
        connection.relocate(place.backend, stray, f"{root}/{stray.experiment_id}")
        moved = list(_owned(stray, place))
        for key, size in moved:  # what a local client has added meanwhile
            if arrived.get(f"{stray.experiment_id}/{key}") != size:
                kept.put_file(f"{stray.experiment_id}/{key}", source.root / key)
        if _is_made_by_mlflow(stray, source.root):
            shutil.rmtree(source.root, ignore_errors=True)
        else:
            source.delete(key for key, _ in moved)
    return replace(planned, done=True)


def _owned(stray: StrayExperiment, place: ServerLocation) -> Iterator[tuple[str, int]]:
    """Yield (key, bytes) of an experiment's artifacts."""
    folder = _folder(stray, place)
    if _is_made_by_mlflow(stray, folder):
        yield from ArtifactFolder(folder).sizes()
    else:
        for own in connection.folders_of(place.backend, stray):
            yield from ArtifactFolder(folder).sizes(own)


def _is_made_by_mlflow(stray: StrayExperiment, folder: Path) -> bool:
    return folder.name == stray.experiment_id


def _folder(stray: StrayExperiment, place: ServerLocation) -> Path:
    location = stray.location
    path = Path(unquote(urlsplit(location).path) if location.startswith("file:") else location)
    return path if path.is_absolute() else (place.root / path).resolve()
