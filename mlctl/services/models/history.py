"""A model's history: records of its moves, and the state that follows from reading them in order.

Each promotion and rollback adds one record to the model's tags. Only that write decides: the order of the records'
keys is the order of the moves, whatever the clocks say. The records alone define which version each stage's alias
must point to, each version's classic stage, and what each move replaced. `history_tags` stores them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mlctl.domain.registry import GateCheck, HistoryEntry
from mlctl.services.models.stages import ARCHIVED, CLASSIC_STAGES, is_exclusive

PROMOTE, ROLLBACK = "promote", "rollback"
RELEASE = "release"  # the version leaves the stage, which is then empty
OUTSIDE = "outside mlctl"  # who moved a version if no record speaks of it


@dataclass(frozen=True, kw_only=True)
class MoveRecord:
    """One move, as its writer knew it.

    Attributes:
        at: Time in ISO 8601.
        by: User.
        action: "promote", "rollback" or "release".
        stage: Stage that the version was moved to, or that it left.
        version: Version that was moved.
        reason: The user's reason, or "".
        previous_stage: Classic stage of the version before the move.
        initial_holders: Version in each stage of which no earlier record speaks, according to the store, because
            other tools may have promoted the model before.
        checks: Gates of the promotion.
        run_id: Run that logged the version.
        data_sha256: Checksum of the training data.
        key: Name of the record, which sorts by the order of the moves; "" if it is not written yet.
    """

    at: str
    by: str
    action: str
    stage: str
    version: str
    reason: str = ""
    previous_stage: str = "None"
    initial_holders: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[GateCheck, ...] = ()
    run_id: str | None = None
    data_sha256: str | None = None
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class HistoryState:
    """The state that follows from a model's records.

    Attributes:
        holders: Version in each exclusive stage; None if the stage is empty.
        stacks: Versions that held each stage, in the reverse order in which rollbacks return to them.
        classic: Classic stage of each version of which a record speaks.
        entries: The records, with what each of them replaced.
        changed: Whether each record, by key, changed anything.
        keys: Keys of the records, in the order of `entries`.
    """

    holders: Mapping[str, str | None]
    stacks: Mapping[str, tuple[str, ...]]
    classic: Mapping[str, str]
    entries: tuple[HistoryEntry, ...]
    changed: Mapping[str, bool]
    keys: tuple[str, ...]


def now() -> str:
    """Return the current time in the format of records."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def replay(records: Sequence[MoveRecord]) -> HistoryState:
    """Return the state that follows from these records."""
    replayer = _Replayer()
    for record in records:
        replayer.apply(record)
    return HistoryState(
        holders=replayer.holders,
        stacks={stage: tuple(versions) for stage, versions in replayer.stacks.items()},
        classic=replayer.classic,
        entries=tuple(replayer.entries),
        changed=replayer.changed,
        keys=tuple(record.key for record in records),
    )


class _Replayer:
    def __init__(self) -> None:
        self.holders: dict[str, str | None] = {}
        self.stacks: dict[str, list[str]] = {}
        self.classic: dict[str, str] = {}
        self.entries: list[HistoryEntry] = []
        self.changed: dict[str, bool] = {}

    def apply(self, record: MoveRecord) -> None:
        for stage, version in record.initial_holders.items():
            if stage not in self.holders:
                self.holders[stage], self.stacks[stage] = version, [version]
        version, stage = record.version, record.stage
        classic_before = self.classic.get(version, record.previous_stage)
        replaced = None
        if record.action == RELEASE:
            released = [stage] if self.holders.get(stage) == version else []
            for held in released:
                self._release(held)
            if stage in CLASSIC_STAGES:
                self.classic[version] = ARCHIVED
            changed = bool(released)
        elif is_exclusive(stage):
            replaced = self.holders.get(stage)
            released = self._assign(stage, version, record.action)
            changed = replaced != version
        else:
            released = [held for held, holder in self.holders.items() if holder == version]
            for held in released:
                self._release(held)
            self.classic[version] = stage
            changed = bool(released) or classic_before != stage
        self.changed[record.key] = changed
        self.entries.append(
            HistoryEntry(
                at=datetime.fromisoformat(record.at),
                by=record.by,
                action=record.action,
                stage=stage,
                version=version,
                replaced=replaced,
                reason=record.reason,
                checks=record.checks,
                run_id=record.run_id,
                data_sha256=record.data_sha256,
                released=tuple(released),
            )
        )

    def _assign(self, stage: str, version: str, action: str) -> list[str]:
        """Give an exclusive stage to a version; return the stages that the version lost by it."""
        stack = self.stacks.setdefault(stage, [])
        previous = self.holders.get(stage)
        lost = []
        if stage in CLASSIC_STAGES:
            lost = [
                other for other in CLASSIC_STAGES if other != stage and self.holders.get(other) == version
            ]
            for other in lost:
                self._release(other)
            if previous and previous != version:
                self.classic[previous] = ARCHIVED
            self.classic[version] = stage
        if previous != version:
            if action == ROLLBACK and version in stack:
                while stack[-1] != version:  # later versions are dropped, or rollbacks would alternate
                    stack.pop()
            else:
                stack.append(version)
        self.holders[stage] = version
        return lost

    def _release(self, stage: str) -> None:
        self.holders[stage] = None
        self.stacks[stage].pop()
