"""Read a model's state, and reconcile its aliases and classic stages with its history records.

A promotion takes several writes, and a process may be killed between two of them. So the record decides, and
every later command completes it: read records, aliases and stages, write what differs, and read again, until
nothing differs. The last writer always reads after its write, so the final state agrees with the newest record.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mlctl.adapters.tracking.registry import Registry, StoredModel, with_aliases
from mlctl.domain.registry import RegisteredVersion
from mlctl.domain.tags import VOID_PREFIX
from mlctl.errors import ConfigurationError, NotFoundError, RefusedError
from mlctl.services.models.history import HistoryState, MoveRecord, replay
from mlctl.services.models.history_tags import add_record, next_key, read_records
from mlctl.services.models.stages import ARCHIVED, CLASSIC_STAGES, SHARED_STAGES, stage_alias

MAX_ROUNDS, PAUSE_S = 60, 0.02
ROUNDS_WITHOUT_PAUSE = 3

Write = Callable[[], None]


@dataclass(frozen=True)
class RegistryState:
    """A registered model: its versions, newest first, and the state that its records define.

    `new_key` is the key of the record that `record_move` wrote, else "".
    """

    model: StoredModel
    versions: tuple[RegisteredVersion, ...]
    history: HistoryState
    new_key: str = ""

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    def version(self, number: str) -> RegisteredVersion:
        """Return one version. Raises NotFoundError, which lists the existing versions."""
        for version in self.versions:
            if version.version == number:
                return version
        numbers = ", ".join(version.version for version in self.versions)
        hint = f"its versions: {numbers}" if numbers else f"create one: mlctl register RUN {self.name}"
        raise NotFoundError(f"{self.name} has no version {number}", hint)

    def has_version(self, number: str | None) -> bool:
        """Return whether the version exists."""
        return any(version.version == number for version in self.versions)

    def holder(self, stage: str) -> str | None:
        """Return the version in a stage: by the records, else by the alias, else by the classic stage."""
        if stage in self.history.holders:
            number = self.history.holders[stage]
            return number if self.has_version(number) else None
        if number := self.model.aliases.get(stage_alias(stage)):
            return number
        return next((version.version for version in self.versions if version.stage == stage), None)


def read_state(registry: Registry, name: str) -> RegistryState:
    """Return a model's state as the store has it. Raises NotFoundError."""
    model = registry.get_model(name)
    return _state(model, registry.list_versions(name, model.aliases))


def reconcile(registry: Registry, name: str) -> RegistryState:
    """Write what differs from the model's records, and return the resulting state.

    Raises RefusedError if other writers change the model faster than it can be read.
    """
    for attempt in range(MAX_ROUNDS):
        state = read_state(registry, name)
        writes = list(_pending_writes(registry, state))
        if not writes:
            return state
        if attempt >= ROUNDS_WITHOUT_PAUSE:  # several writers are at work: let one of them finish
            time.sleep(random.uniform(0, PAUSE_S * attempt))  # noqa: S311 - no secret
        for write in writes:
            try:
                write()
            except NotFoundError:  # deleted meanwhile; the next read shows it
                break
    raise RefusedError(f"other processes keep changing {name}", "try again")


def reconcile_if_allowed(registry: Registry, name: str) -> RegistryState:
    """Return a model's reconciled state, or its state as it is if this user may not change it."""
    try:
        return reconcile(registry, name)
    except (ConfigurationError, RefusedError):
        return read_state(registry, name)


def reconcile_all_if_allowed(registry: Registry) -> tuple[RegistryState, ...]:
    """Return every model, the last changed first. This takes two queries if nothing must be reconciled."""
    versions: dict[str, list[RegisteredVersion]] = {}
    models = registry.list_models()
    for version in registry.list_versions() if models else ():
        versions.setdefault(version.name, []).append(version)
    states = []
    for model in models:
        state = _state(
            model, [with_aliases(version, model.aliases) for version in versions.get(model.name, ())]
        )
        reconciled = is_reconciled(registry, state)
        states.append(state if reconciled else reconcile_if_allowed(registry, model.name))
    never = datetime.fromtimestamp(0, UTC)
    return tuple(sorted(states, key=lambda state: state.model.updated or never, reverse=True))


def is_reconciled(registry: Registry, state: RegistryState) -> bool:
    """Return whether aliases and classic stages agree with the records."""
    return next(_pending_writes(registry, state), None) is None


def record_move(
    registry: Registry, state: RegistryState, record: MoveRecord, own_stages: Sequence[str]
) -> RegistryState:
    """Write a record and reconcile the model; return the resulting state, with `new_key` set.

    Raises NotFoundError if the version was deleted meanwhile.
    """
    stages = [*CLASSIC_STAGES, *own_stages, *([record.stage] if record.stage not in SHARED_STAGES else [])]
    initial_holders = {
        stage: holder
        for stage in dict.fromkeys(stages)
        if stage not in state.history.holders and (holder := state.holder(stage))
    }
    key = next_key(state.model.tags)
    write = add_record(state.model.tags, key, replace(record, initial_holders=initial_holders))
    for tag, text in write.tags:
        registry.set_model_tag(state.name, tag, text)
    state = reconcile(registry, state.name)
    for tag in write.superseded:  # last, since nothing depends on it
        registry.delete_model_tag(state.name, tag)
    if key not in state.history.keys:
        raise NotFoundError(
            f"version {record.version} of {state.name} was deleted meanwhile", "nothing was changed"
        )
    return replace(state, new_key=key)


def _state(model: StoredModel, versions: Sequence[RegisteredVersion]) -> RegistryState:
    return RegistryState(model, tuple(versions), replay(read_records(model.tags)))


def _pending_writes(registry: Registry, state: RegistryState) -> Iterator[Write]:
    """Yield the writes that make aliases and classic stages agree with the records."""
    name = state.name
    if tag := _void_tag(state):
        yield lambda: registry.set_model_tag(name, tag, "its version was deleted before it held the stage")
        return
    for stage in state.history.holders:
        alias, holder = stage_alias(stage), state.holder(stage)
        if state.model.aliases.get(alias) != holder:
            yield _alias_write(registry, name, alias, holder)
    targets = {version.version: _target_stage(state, version) for version in state.versions}
    wrong = [version for version in state.versions if version.stage != targets[version.version]]
    newly_held = {targets[version.version] for version in wrong} & set(CLASSIC_STAGES)
    for version in sorted(wrong, key=lambda version: targets[version.version] not in CLASSIC_STAGES):
        if version.stage in newly_held and targets[version.version] == ARCHIVED:
            continue  # the write that gives its stage to another version archives it
        yield _stage_write(registry, name, version.version, targets[version.version])


def _void_tag(state: RegistryState) -> str:
    """Return the tag that voids the newest record if its move can never be completed, else "".

    If a version is deleted while it holds a stage, its alias is deleted with it. So if the alias still points to
    the version before, the record's writer was killed, and the version deleted, before the alias was moved.
    """
    if not state.history.entries:
        return ""
    last = state.history.entries[-1]
    pointed = state.model.aliases.get(stage_alias(last.stage))
    if state.has_version(last.version) or pointed is None or pointed != last.replaced:
        return ""
    return VOID_PREFIX + state.history.keys[-1] if state.has_version(pointed) else ""


def _target_stage(state: RegistryState, version: RegisteredVersion) -> str:
    """Return the classic stage that a version must have: its present one if no record speaks of it."""
    if version.version in state.history.classic:
        return state.history.classic[version.version]
    holder = state.history.holders.get(version.stage) if version.stage in CLASSIC_STAGES else None
    return ARCHIVED if holder not in {None, version.version} else version.stage


def _alias_write(registry: Registry, name: str, alias: str, version: str | None) -> Write:
    return lambda: registry.set_alias(name, alias, version)


def _stage_write(registry: Registry, name: str, version: str, stage: str) -> Write:
    # one write assigns the stage and archives its previous version, so the stage is never empty in between
    return lambda: registry.transition_stage(name, version, stage, archive_others=stage in CLASSIC_STAGES)
