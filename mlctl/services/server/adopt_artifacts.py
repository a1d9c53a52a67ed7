"""Move the artifacts of local clients behind the server.

An experiment that was created without a server names a folder of its machine. Over HTTP, a client would receive that
path and write to its own disk. The move copies first, then changes every location in one transaction, then deletes.
So each artifact can be found at every moment where the database says it is.

A folder that a user chose (`artifact_location`) may hold other files too. From such a folder only the artifacts of
known runs, models and traces are moved.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlctl.adapters.database import connection
from mlctl.adapters.database.active_runs import list_active_runs
from mlctl.adapters.storage.artifact_store import ArtifactFolder, open_artifact_store
from mlctl.adapters.system import local_servers
from mlctl.domain.server import Adoption, LocalExperiment, ServerLocation
from mlctl.errors import ChildFailedError, RefusedError


def plan_adoption(location: ServerLocation) -> Adoption:
    """Return what can be moved, and what cannot: folders of another machine or of several experiments."""
    movable, elsewhere = [], []
    local_experiments = connection.list_stray_experiments(location.backend)
    folders = {experiment.experiment_id: _folder(experiment, location) for experiment in local_experiments}
    for experiment in local_experiments:
        folder = folders[experiment.experiment_id]
        others = [other for key, other in folders.items() if key != experiment.experiment_id]
        shared = any(other.is_relative_to(folder) or folder.is_relative_to(other) for other in others)
        if not shared and (folder.is_dir() or folder.is_relative_to(location.root)):
            sizes = [size for _, size in _artifacts(experiment, location)]
            movable.append(replace(experiment, files=len(sizes), size_bytes=sum(sizes)))
        else:
            elsewhere.append(experiment)
    return Adoption(movable=tuple(movable), elsewhere=tuple(elsewhere), destination=location.destination)


def require_no_writers(location: ServerLocation, adoption: Adoption, state_dir: Path) -> None:
    """Raise RefusedError if a server is up on the database, or if a run of these experiments is active.

    Only the servers of this machine and the runs in the database can be checked.
    """
    for state in local_servers.running_servers(state_dir, location.backend.uri):
        raise RefusedError(
            f"server {state['name']} is up, and its clients may be writing artifacts",
            f"stop it first: mlctl server-down --name {state['name']}",
        )
    names = {experiment.experiment_id: experiment.name for experiment in adoption.movable}
    for run in list_active_runs(location.backend):
        if run.experiment_id in names:
            raise RefusedError(
                f"run {run.run_id[:8]} of {names[run.experiment_id]} is still writing these artifacts",
                "wait until it ends: mlctl runs watch",
            )


def adopt(location: ServerLocation, adoption: Adoption) -> Adoption:
    """Move the artifacts of an adoption and return it; raises ChildFailedError if a copy is incomplete."""
    store = open_artifact_store(location)
    for experiment in adoption.movable:
        source = ArtifactFolder(_folder(experiment, location))
        for key, _ in _artifacts(experiment, location):
            store.put_file(f"{experiment.experiment_id}/{key}", source.root / key)
        copied = dict(store.sizes(f"{experiment.experiment_id}/"))
        for key, size in _artifacts(experiment, location):
            if copied.get(f"{experiment.experiment_id}/{key}") != size:
                raise ChildFailedError(
                    f"the copy of {key} of {experiment.name} is incomplete",
                    "nothing was changed; run the command again",
                )
        root = location.destination if location.direct else "mlflow-artifacts:"
        connection.change_artifact_location(
            location.backend, experiment, f"{root}/{experiment.experiment_id}"
        )
        moved = list(_artifacts(experiment, location))
        for key, size in moved:  # a local client may have added files during the copy
            if copied.get(f"{experiment.experiment_id}/{key}") != size:
                store.put_file(f"{experiment.experiment_id}/{key}", source.root / key)
        if _is_mlflow_folder(experiment, source.root):
            shutil.rmtree(source.root, ignore_errors=True)
        else:
            source.delete(key for key, _ in moved)
    return replace(adoption, done=True)


def _artifacts(experiment: LocalExperiment, location: ServerLocation) -> Iterator[tuple[str, int]]:
    """Yield (key, bytes) of an experiment's artifacts."""
    folder = _folder(experiment, location)
    if _is_mlflow_folder(experiment, folder):
        yield from ArtifactFolder(folder).sizes()
    else:
        for prefix in connection.artifact_folders(location.backend, experiment):
            yield from ArtifactFolder(folder).sizes(prefix)


def _is_mlflow_folder(experiment: LocalExperiment, folder: Path) -> bool:
    """Return whether MLflow created the folder: it is named after the experiment's id."""
    return folder.name == experiment.experiment_id


def _folder(experiment: LocalExperiment, location: ServerLocation) -> Path:
    uri = experiment.location
    path = Path(unquote(urlsplit(uri).path) if uri.startswith("file:") else uri)
    return path if path.is_absolute() else (location.root / path).resolve()
