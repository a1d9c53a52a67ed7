"""Which artifacts a backup must hold, and which it cannot hold because another store has them."""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath

from mlctl.adapters.storage.artifact_store import ArtifactFolder
from mlctl.domain.run_queries import CHECKPOINT_FOLDER
from mlctl.domain.server import ServerLocation
from mlctl.errors import RefusedError
from mlctl.services.server import artifact_uri
from mlctl.services.server.adopt_artifacts import plan_adoption


def require_adopted_artifacts(location: ServerLocation) -> None:
    """Raise RefusedError if artifacts are in folders that local clients created: the server does not have them."""
    local_experiments = [experiment for experiment in plan_adoption(location).movable if experiment.files]
    if local_experiments:
        names = ", ".join(experiment.name for experiment in local_experiments[:3]) + (
            "…" if len(local_experiments) > 3 else ""
        )
        files = sum(experiment.files for experiment in local_experiments)
        raise RefusedError(
            f"{files} artifacts of {names} are in folders of this machine, and would not be in the backup",
            "move them behind the server: mlctl server-up --adopt-artifacts",
        )


def uncovered_locations(artifacts: list[tuple[str, str, str]], location: ServerLocation) -> list[str]:
    """Return, in words, the artifact locations that a backup of this server does not hold.

    Args:
        artifacts: (kind, id or name, artifact location) of everything that is not deleted.
        location: The server's location.
    """
    base = artifact_uri.base(location)
    uncovered = []
    for kind, identifier, uri in artifacts:
        if kind not in {"experiment", "version"}:
            continue  # a run and a model are in the location of their experiment
        if uri.startswith(("models:", "runs:")):
            continue  # this names a model or a run, which has an entry of its own
        path = artifact_uri.normalize(uri, location)
        is_local = path.is_absolute() and (Path(path).is_dir() or path.is_relative_to(location.root))
        is_empty = is_local and not any(ArtifactFolder(Path(path)).sizes())
        if not is_empty and not path.is_relative_to(base):
            uncovered.append(f"{uri}, of {kind} {identifier}")
    return uncovered


class ArtifactOwners:
    """Finds which run, model or version of a database needs an artifact.

    Args:
        artifacts: (kind, id or name, artifact location) of everything that is not deleted.
        location: The server's location.
    """

    def __init__(self, artifacts: list[tuple[str, str, str]], location: ServerLocation) -> None:
        self._artifacts = artifacts
        self._location = location

    @functools.cached_property
    def _owners(self) -> dict[PurePosixPath, tuple[str, str]]:
        return {
            artifact_uri.normalize(uri, self._location): (kind, identifier)
            for kind, identifier, uri in self._artifacts
        }

    def owner_of(self, key: str) -> str | None:
        """Return the run, model or version that an artifact belongs to; None for none, and for a checkpoint."""
        path = artifact_uri.base(self._location) / key
        for parent in path.parents:
            kind, identifier = self._owners.get(parent, ("", ""))
            is_checkpoint = kind == "run" and path.relative_to(parent).parts[0] == CHECKPOINT_FOLDER
            if kind in {"run", "model", "version"} and not is_checkpoint:
                return f"{kind} {identifier}"
        return None
