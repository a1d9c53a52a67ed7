"""Keeping a model's aliases and classic stages as its records say, whoever was killed half way.

Two writes cannot be one, so the record decides and all who come by work towards it: read the records and the
pointers, move what differs, and read again, until a read finds nothing to move. Whoever wrote last has read
after that, so what is left behind agrees with the newest record; what a killed process left, the next one ends.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mlctl.adapters.tracking.registry import Registry, StoredModel
from mlctl.domain.registry import RegisteredVersion
from mlctl.errors import ConfigurationError, NotFoundError, RefusedError
from mlctl.services.models import history
from mlctl.services.models.stages import ARCHIVED, CLASSIC_HELD, STATES, alias_of

ROUNDS, PAUSE_S = 60, 0.02

Write = Callable[[], None]


@dataclass(frozen=True)
class RegistryState:
    """A registered model as it stands: its versions, newest first, and what its records say.

    `key` is that of the record that was just written, where one was.
    """

    model: StoredModel
    versions: tuple[RegisteredVersion, ...]
    outcome: history.Outcome
    key: str = ""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    def version(self, number: str) -> RegisteredVersion:
        """Return one version; raises NotFoundError that says which there are."""
        for one in self.versions:
            if one.version == number:
                return one
        there = ", ".join(one.version for one in self.versions) or "none"
        raise NotFoundError(f"{self.name} has no version {number}", f"there are: {there}")

    def exists(self, number: str | None) -> bool:
        """Whether there is such a version."""
        return any(one.version == number for one in self.versions)

    def holder(self, stage: str) -> str | None:
        """Return the version that holds a stage: by the records, else by the alias, else by classic stage."""
        if stage in self.outcome.holders:
            found = self.outcome.holders[stage]
            return found if self.exists(found) else None
        if pointed := self.model.aliases.get(alias_of(stage)):
            return pointed
        return next((one.version for one in self.versions if one.stage == stage), None)


def look(registry: Registry, name: str) -> RegistryState:
    """Read a model as it is; raises NotFoundError."""
    model = registry.model(name)
    return RegistryState(
        model, registry.versions(name, model.aliases), history.replay(history.records(model.tags))
    )


def settled(registry: Registry, name: str) -> RegistryState:
    """Return a model that agrees with its records, having moved what did not.

    Raises RefusedError where others change it faster than it can be read.
    """
    for attempt in range(ROUNDS):
        standing = look(registry, name)
        writes = list(_writes(registry, standing))
        if not writes:
            return standing
        if attempt > 2:  # several are at it: let one of them finish
            time.sleep(random.uniform(0, PAUSE_S * attempt))  # noqa: S311 - no secret
        for write in writes:
            try:
                write()
            except NotFoundError:  # deleted meanwhile: the next look says so
                break
    raise RefusedError(f"{name} is being changed by others all the time", "try again")


def seen(registry: Registry, name: str) -> RegistryState:
    """Return a model for somebody who only looks: settled, or as it is where they may not change it."""
    try:
        return settled(registry, name)
    except (ConfigurationError, RefusedError):
        return look(registry, name)


def seen_all(registry: Registry) -> tuple[RegistryState, ...]:
    """Return every model, the one changed last first, at the cost of two questions where all agree."""
    versions: dict[str, list[RegisteredVersion]] = {}
    models = registry.models()
    for one in registry.versions() if models else ():
        versions.setdefault(one.name, []).append(one)
    found = []
    for model in models:
        known = tuple(registry.pointed(one, model.aliases) for one in versions.get(model.name, ()))
        standing = RegistryState(model, known, history.replay(history.records(model.tags)))
        found.append(standing if agrees(registry, standing) else seen(registry, model.name))
    never = datetime.fromtimestamp(0, UTC)
    return tuple(sorted(found, key=lambda one: one.model.updated or never, reverse=True))


def agrees(registry: Registry, standing: RegistryState) -> bool:
    """Whether aliases and stages are as the records say: nothing would have to be moved."""
    return next(_writes(registry, standing), None) is None


def _writes(registry: Registry, standing: RegistryState) -> Iterator[Write]:
    """Yield what is to be written so that aliases and stages agree with the records."""
    name, outcome = standing.name, standing.outcome
    if key := _never_finished(standing):
        yield lambda: registry.tag(name, key, "its version was deleted before it held the stage")
        return
    for stage in outcome.holders:
        alias, holder = alias_of(stage), standing.holder(stage)
        if standing.model.aliases.get(alias) != holder:
            yield _pointing(registry, name, alias, holder)
    wanted = {one.version: _stage_of(standing, one) for one in standing.versions}
    wrong = [one for one in standing.versions if one.stage != wanted[one.version]]
    taken = {wanted[one.version] for one in wrong if wanted[one.version] in CLASSIC_HELD}
    for one in sorted(wrong, key=lambda one: wanted[one.version] not in CLASSIC_HELD):
        if one.stage in taken and wanted[one.version] == ARCHIVED:
            continue  # the version that takes its stage archives it in the same write
        yield _moving(registry, name, one.version, wanted[one.version])


def _never_finished(standing: RegistryState) -> str:
    """Return the tag that voids the newest record where its version is gone and its stage was never moved.

    A version that held its stage and was deleted later took the alias with it; where the alias still points
    to the one before, the record's writer was killed, and the version deleted, before anything moved.
    """
    if not standing.outcome.moves:
        return ""
    last = standing.outcome.moves[-1]
    pointed = standing.model.aliases.get(alias_of(last.stage))
    gone = not standing.exists(last.version)
    if gone and pointed is not None and pointed == last.replaced and standing.exists(pointed):
        return history.VOID + standing.outcome.keys[-1]
    return ""


def _stage_of(standing: RegistryState, one: RegisteredVersion) -> str:
    """Return the classic stage that a version must have; its own, where no record speaks of it."""
    if one.version in standing.outcome.classic:
        return standing.outcome.classic[one.version]
    taken = one.stage in CLASSIC_HELD and standing.outcome.holders.get(one.stage) not in {None, one.version}
    return ARCHIVED if taken else one.stage


def _pointing(registry: Registry, name: str, alias: str, version: str | None) -> Write:
    return lambda: registry.point(name, alias, version)


def _moving(registry: Registry, name: str, version: str, stage: str) -> Write:
    # one write takes the stage and archives who was in it: the stage is never empty on the way
    return lambda: registry.move(name, version, stage, alone=stage in CLASSIC_HELD)


def recorded(
    registry: Registry, standing: RegistryState, record: history.Record, own: tuple[str, ...]
) -> RegistryState:
    """Write a record and settle the model; return it as it then stands, the new record's key its `key`.

    `own` are the operator's stages; raises NotFoundError where the version was deleted meanwhile.
    """
    known = [*CLASSIC_HELD, *own, *([record.stage] if record.stage not in STATES else [])]
    found = {
        stage: holder
        for stage in dict.fromkeys(known)
        if stage not in standing.outcome.holders and (holder := standing.holder(stage))
    }
    key = history.next_key(standing.model.tags)
    for tag, text in history.tags_of(key, replace(record, found=found)):
        registry.tag(standing.name, tag, text)
    after = settled(registry, standing.name)
    if key not in after.outcome.keys:
        raise NotFoundError(
            f"version {record.version} of {standing.name} was deleted meanwhile", "nothing was changed"
        )
    return replace(after, key=key)
