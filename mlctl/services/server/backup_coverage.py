"""What a backup must hold, and what it cannot: artifacts that are in no place of the server's."""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath

from mlctl.adapters.storage.artifact_folder import ArtifactFolder
from mlctl.domain.run_queries import CHECKPOINT
from mlctl.domain.server import ServerLocation
from mlctl.errors import RefusedError
from mlctl.services.server import artifact_uri
from mlctl.services.server.adopt_artifacts import plan


def demand_adopted(place: ServerLocation) -> None:
    """Raise RefusedError where artifacts are in folders that local clients made: they are not the server's yet."""
    strays = [one for one in plan(place).movable if one.files]
    if strays:
        names = ", ".join(one.name for one in strays[:3]) + ("…" if len(strays) > 3 else "")
        files = sum(one.files for one in strays)
        raise RefusedError(
            f"{files} artifacts of {names} are in folders of this machine, and would not be in the backup",
            "move them behind the server: mlctl server-up --adopt-artifacts",
        )


def elsewhere(located: list[tuple[str, str, str]], place: ServerLocation) -> list[str]:
    """Return the places that are neither this server's nor a folder of this machine that holds nothing."""
    base = artifact_uri.base(place)
    told = []
    for kind, whose, location in located:
        if kind not in {"experiment", "version"}:
            continue  # a run and a model are in their experiment's place
        where = artifact_uri.of(location, place)
        named = location.startswith(
            ("models:", "runs:")
        )  # by an id: where that one is, is looked at by itself
        here = where.is_absolute() and (Path(where).is_dir() or where.is_relative_to(place.root))
        if not (
            named or (here and not any(ArtifactFolder(Path(where)).sizes())) or where.is_relative_to(base)
        ):
            told.append(f"{location}, of {kind} {whose}")
    return told


class Needs:
    """Who in a database needs an artifact."""

    def __init__(self, located: list[tuple[str, str, str]], place: ServerLocation) -> None:
        self._located = located
        self._place = place

    @functools.cached_property
    def _holders(self) -> dict[PurePosixPath, tuple[str, str]]:
        return {artifact_uri.of(where, self._place): (kind, whose) for kind, whose, where in self._located}

    def whom(self, key: str) -> str | None:
        """Return the run, model or version that an artifact belongs to; None where it is nobody's, or a checkpoint."""
        where = artifact_uri.base(self._place) / key
        for above in where.parents:
            kind, whose = self._holders.get(above, ("", ""))
            passing = kind == "run" and where.relative_to(above).parts[0] == CHECKPOINT
            if kind in {"run", "model", "version"} and not passing:
                return f"{kind} {whose}"
        return None
