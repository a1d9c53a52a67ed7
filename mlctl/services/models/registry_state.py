"""Read a model's state, and write moves to its history one after the other.

A move takes several writes: its record, the alias of its stage, the classic stages. One writer at a time makes them
(see `registry_lock`), so the order of the records is the order in which the aliases changed. The alias decides: if a
writer was killed before it, its record is void, otherwise the next writer completes the move. Reading writes nothing.
If an alias or a classic stage differs from the history, another program has changed it; the next writer records that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mlctl.adapters.tracking.registry import Registry, StoredModel, with_aliases
from mlctl.domain.registry import RegisteredVersion
from mlctl.domain.tags import VOID_PREFIX
from mlctl.errors import NotFoundError
from mlctl.services.models.foreign_moves import ForeignMove, find_foreign_moves, target_stage
from mlctl.services.models.history import RELEASE, HistoryState, MoveRecord, now, replay
from mlctl.services.models.history_tags import add_records, next_key, read_records, writer_of
from mlctl.services.models.registry_lock import ModelLock, lock_ids, model_lock
from mlctl.services.models.stages import ARCHIVED, CLASSIC_STAGES, SHARED_STAGES, is_exclusive, stage_alias

READS, PAUSE_S = 4, 0.05

Write = Callable[[], None]


@dataclass(frozen=True)
class RegistryState:
    """A registered model: its versions, newest first, and the state that its records and foreign moves define.

    Attributes:
        records: The records in the store, without those of moves that have not happened.
        foreign: What other programs have changed since the last record.
        history: The state that follows from both.
        unfinished: Records whose writer is at work or was killed, by their key: whether the move has happened.
        new_key: Key of the record that `record_move` wrote, else "".
    """

    model: StoredModel
    versions: tuple[RegisteredVersion, ...]
    history: HistoryState
    new_key: str = ""
    records: tuple[MoveRecord, ...] = ()
    foreign: tuple[ForeignMove, ...] = ()
    unfinished: dict[str, bool] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def disagreements(self) -> tuple[str, ...]:
        """What differs from the history, in words."""
        return tuple(move.message for move in self.foreign)

    @property
    def is_settled(self) -> bool:
        """Whether nothing differs from the history, and no writer is at work or was killed."""
        return not self.foreign and not lock_ids(self.model.tags)

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
        """Return the version in a stage: by the history, else by the alias, else by the classic stage."""
        if stage in self.history.holders:
            number = self.history.holders[stage]
            return number if self.has_version(number) else None
        if number := self.model.aliases.get(stage_alias(stage)):
            return number
        return next((version.version for version in self.versions if version.stage == stage), None)


def read_state(registry: Registry, name: str) -> RegistryState:
    """Return a model's state. Raises NotFoundError.

    The store answers tags, aliases and versions one after the other. A difference counts only if two reads agree on
    it, so that a move that is just being made does not look like another program's.
    """
    state = _read(registry, name)
    for _ in range(READS):
        if not state.foreign:
            break
        time.sleep(PAUSE_S)
        seen, state = state, _read(registry, name)
        if seen.disagreements == state.disagreements and seen.model.tags == state.model.tags:
            break
    return state


def read_all_states(registry: Registry) -> tuple[RegistryState, ...]:
    """Return every model, the last changed first. This takes two queries if all agree with their history."""
    versions: dict[str, list[RegisteredVersion]] = {}
    models = registry.list_models()
    for version in registry.list_versions() if models else ():
        versions.setdefault(version.name, []).append(version)
    states = []
    for model in models:
        state = _state(
            model, [with_aliases(version, model.aliases) for version in versions.get(model.name, ())]
        )
        states.append(read_state(registry, model.name) if state.foreign else state)
    never = datetime.fromtimestamp(0, UTC)
    return tuple(sorted(states, key=lambda state: state.model.updated or never, reverse=True))


def record_move(
    registry: Registry,
    state: RegistryState,
    record: MoveRecord,
    own_stages: Sequence[str],
    check: Callable[[RegistryState], None] = lambda _state: None,
) -> RegistryState:
    """Write a record and make its move; return the resulting state, with `new_key` set.

    Foreign moves are recorded before it. Raises NotFoundError if the version was deleted meanwhile, and what `check`
    raises, which gets the state as it is while nobody else can move a stage.
    """
    with model_lock(registry, state.name) as lock:
        state = _finish_abandoned(registry, state.name, lock)
        check(state)
        foreign = [move.record for move in state.foreign]
        key = _write_records(registry, state, [*foreign, record], own_stages, lock)
        state = _read(registry, state.name)
        if not state.has_version(record.version):
            registry.set_model_tag(
                state.name, VOID_PREFIX + key, "its version was deleted before it held the stage"
            )
            raise NotFoundError(
                f"version {record.version} of {state.name} was deleted meanwhile", "nothing was changed"
            )
    state = read_state(registry, state.name)
    return replace(state, new_key=key)


def record_foreign_moves(
    registry: Registry, name: str, restoring: Callable[[ForeignMove], MoveRecord | None]
) -> tuple[ForeignMove, ...]:
    """Write a record of each foreign move, and those that undo them; return the moves. Raises NotFoundError."""
    with model_lock(registry, name) as lock:
        state = _finish_abandoned(registry, name, lock)
        if state.foreign:
            records = [move.record for move in state.foreign]
            undone = [undo for move in state.foreign if (undo := restoring(move))]
            _write_records(registry, state, [*records, *undone], (), lock)
        return state.foreign


def _write_records(
    registry: Registry,
    state: RegistryState,
    records: Sequence[MoveRecord],
    own_stages: Sequence[str],
    lock: ModelLock,
) -> str:
    """Write records and make their moves; return the last record's key, which names the lock's holder."""
    last = records[-1]
    stages = [*CLASSIC_STAGES, *own_stages, *([last.stage] if last.stage not in SHARED_STAGES else [])]
    initial_holders = {
        stage: holder
        for stage in dict.fromkeys(stages)
        if stage not in state.history.holders and (holder := state.holder(stage))
    }
    tags = state.model.tags
    earliest = state.records[-1].at if state.records else ""
    lock.renew()
    numbered = []
    for offset, record in enumerate(records, start=1):
        writer = lock.id if offset == len(records) else ""
        holders = initial_holders if offset == 1 else {}
        at = max(now(), earliest, key=_moment)  # the clocks of two machines may differ
        key = next_key(tags, writer, offset)
        numbered.append(replace(record, at=at, initial_holders=holders, key=key))
        earliest = at
    write = add_records(tags, numbered)
    lock.is_writing = True
    for tag, text in write.tags:
        registry.set_model_tag(state.name, tag, text)
    _apply(registry, replace(state, history=replay([*state.records, *numbered])), lock, first=last.stage)
    lock.is_writing = False
    for tag in write.superseded:  # last, since nothing depends on it
        lock.renew()
        registry.delete_model_tag(state.name, tag)
    return numbered[-1].key


def _finish_abandoned(registry: Registry, name: str, lock: ModelLock) -> RegistryState:
    """Complete or void the moves of killed writers, delete their locks, and return the state. Needs the lock."""
    state = _read(registry, name)
    abandoned = lock.abandoned(state.model.tags)
    if not abandoned and not state.unfinished:
        return state
    if any(state.unfinished.values()):
        _apply(registry, state, lock)
    for key in [key for key, has_happened in state.unfinished.items() if not has_happened]:
        registry.set_model_tag(name, VOID_PREFIX + key, "its writer was killed before the stage changed")
    for tag in abandoned:
        lock.renew()
        registry.delete_model_tag(name, tag)
    return _read(registry, name)


def _apply(registry: Registry, state: RegistryState, lock: ModelLock, first: str = "") -> None:
    """Make aliases and classic stages agree with a state's history, the alias of the stage `first` before others."""
    for write in list(_pending_writes(registry, state, first)):
        lock.renew()
        try:
            write()
        except NotFoundError:  # the version was deleted meanwhile
            return


def _read(registry: Registry, name: str) -> RegistryState:
    model = registry.get_model(name)
    return _state(model, registry.list_versions(name, model.aliases))


def _state(model: StoredModel, versions: Sequence[RegisteredVersion]) -> RegistryState:
    writers = lock_ids(model.tags)
    all_records = read_records(model.tags)
    done = tuple(record for record in all_records if writer_of(record.key) not in writers)
    before = replay(done)
    unfinished = {
        record.key: _has_happened(record, before, model, versions)
        for record in all_records
        if writer_of(record.key) in writers
    }
    records = tuple(record for record in all_records if unfinished.get(record.key, True))
    history = replay(records)
    foreign: tuple[ForeignMove, ...] = ()
    if not any(unfinished.values()):  # the writer of such a record may still be setting classic stages
        foreign = find_foreign_moves(model, versions, history)
    if foreign:
        history = replay([*records, *(move.record for move in foreign)])
    return RegistryState(
        model, tuple(versions), history, records=records, foreign=foreign, unfinished=unfinished
    )


def _has_happened(
    record: MoveRecord, before: HistoryState, model: StoredModel, versions: Sequence[RegisteredVersion]
) -> bool:
    """Return whether the alias of a record's stage shows its move."""
    pointed = model.aliases.get(stage_alias(record.stage))
    if record.action == RELEASE:
        return pointed != record.version
    if is_exclusive(record.stage):
        return pointed == record.version
    held = [stage for stage, holder in before.holders.items() if holder == record.version]
    if held:
        return any(model.aliases.get(stage_alias(stage)) != record.version for stage in held)
    return any(version.version == record.version and version.stage == record.stage for version in versions)


def _pending_writes(registry: Registry, state: RegistryState, first: str) -> Iterator[Write]:
    """Yield the writes that make aliases and classic stages agree with the history."""
    name = state.name
    for stage in sorted(state.history.holders, key=lambda stage: stage != first):
        alias, holder = stage_alias(stage), state.holder(stage)
        if state.model.aliases.get(alias) != holder:
            yield _alias_write(registry, name, alias, holder)
    targets = {version.version: target_stage(version, state.history) for version in state.versions}
    wrong = [version for version in state.versions if version.stage != targets[version.version]]
    newly_held = {targets[version.version] for version in wrong} & set(CLASSIC_STAGES)
    for version in sorted(wrong, key=lambda version: targets[version.version] not in CLASSIC_STAGES):
        if version.stage in newly_held and targets[version.version] == ARCHIVED:
            continue  # the write that gives its stage to another version archives it
        yield _stage_write(registry, name, version.version, targets[version.version])


def _moment(at: str) -> datetime:
    return datetime.fromisoformat(at) if at else datetime.fromtimestamp(0, UTC)


def _alias_write(registry: Registry, name: str, alias: str, version: str | None) -> Write:
    return lambda: registry.set_alias(name, alias, version)


def _stage_write(registry: Registry, name: str, version: str, stage: str) -> Write:
    # one write assigns the stage and archives its previous version, so the stage is never empty in between
    return lambda: registry.transition_stage(name, version, stage, archive_others=stage in CLASSIC_STAGES)
