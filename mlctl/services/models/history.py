"""A model's history: records that are only ever added, and what they say when read in order.

Every promotion and rollback adds one record to the model's own tags, and that write is what decides: the
order of the records' keys is the order of the moves, whatever the clocks and whoever came first. What a
stage's alias and the classic stages must be, and what each move replaced, follows from the records alone.

A key is a counter, one higher than what its writer saw, and a random part for writers that saw the same. A
record that does not fit into one tag goes on in others, which are written before it: a record that is there is
whole. A record is void where another tag says so.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mlctl.domain.registry import Check, Move
from mlctl.services.models.stages import ARCHIVED, CLASSIC_HELD, is_held

KEY = re.compile(r"mlctl\.log\.(\d{10})\.([0-9a-f]{12})")
VOID = "mlctl.void."
ROOM = 4000  # characters of one tag; PostgreSQL's column takes 5000
ROLLBACK = "rollback"


@dataclass(frozen=True)
class Record:
    """One move as its writer knew it.

    `came_from` is the classic stage the version had; `found` says who held, according to the store, those
    stages of which no record speaks: a model may have been promoted by other tools before.
    """

    at: str
    by: str
    action: str
    stage: str
    version: str
    reason: str = ""
    came_from: str = "None"
    found: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    run_id: str | None = None
    data_sha256: str | None = None
    key: str = ""


@dataclass(frozen=True)
class Outcome:
    """What the records say: who holds each stage, who held it before, and what each version's stage is.

    `held` lists a stage's versions in the order in which a rollback walks back, `classic` only those versions
    of which a record speaks; `moves` are the records with what each of them replaced.
    """

    holders: Mapping[str, str | None]
    held: Mapping[str, tuple[str, ...]]
    classic: Mapping[str, str]
    moves: tuple[Move, ...]
    changed: Mapping[str, bool]
    keys: tuple[str, ...]


def now() -> str:
    """Return the time as records carry it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def next_key(tags: Mapping[str, str]) -> str:
    """Return a key after every record that is there."""
    numbers = [int(match[1]) for key in tags if (match := KEY.fullmatch(key))]
    return f"mlctl.log.{max(numbers, default=0) + 1:010d}.{secrets.token_hex(6)}"


def tags_of(key: str, record: Record) -> list[tuple[str, str]]:
    """Return the tags of a record in the order in which they must be written: the one that counts comes last."""
    said = {name: value for name, value in vars(record).items() if value and name not in {"key", "checks"}}
    if record.checks:
        said["checks"] = [vars(one) for one in record.checks]
    text = json.dumps(said, separators=(",", ":"))  # ASCII: a database may know nothing else
    pieces = [text[start : start + ROOM] for start in range(0, len(text), ROOM)]
    rest = [(f"{key}.{number}", piece) for number, piece in enumerate(pieces[1:], start=2)]
    return [*rest, (key, f"{len(pieces)}:{pieces[0]}")]


def records(tags: Mapping[str, str]) -> tuple[Record, ...]:
    """Return the records that are not void, in their order; what is no record of ours is passed over."""
    found = []
    for key in sorted(key for key in tags if KEY.fullmatch(key)):
        if VOID + key in tags:
            continue
        try:
            found.append(_record(key, tags))
        except (ValueError, KeyError, TypeError, AttributeError):  # a tag is anyone's to edit
            continue
    return tuple(found)


def replay(found: Sequence[Record]) -> Outcome:
    """Return what the records say, read in order."""
    state = _Replay()
    for record in found:
        state.take(record)
    return Outcome(
        holders=state.holders,
        held={stage: tuple(versions) for stage, versions in state.held.items()},
        classic=state.classic,
        moves=tuple(state.moves),
        changed=state.changed,
        keys=tuple(record.key for record in found),
    )


class _Replay:
    def __init__(self) -> None:
        self.holders: dict[str, str | None] = {}
        self.held: dict[str, list[str]] = {}
        self.classic: dict[str, str] = {}
        self.moves: list[Move] = []
        self.changed: dict[str, bool] = {}

    def take(self, record: Record) -> None:
        for stage, version in record.found.items():
            if stage not in self.holders:
                self.holders[stage], self.held[stage] = version, [version]
        version, stage = record.version, record.stage
        before = self.classic.get(version, record.came_from)
        if is_held(stage):
            replaced = self.holders.get(stage)
            released = self._hold(stage, version, record.action)
            changed = replaced != version
        else:
            replaced = None
            released = [one for one, holder in self.holders.items() if holder == version]
            for one in released:
                self._release(one)
            self.classic[version] = stage
            changed = bool(released) or before != stage
        self.changed[record.key] = changed
        self.moves.append(
            Move(
                datetime.fromisoformat(record.at), record.by, record.action, stage, version, replaced,
                record.reason, record.checks, record.run_id, record.data_sha256, tuple(released),
            )
        )  # fmt: skip

    def _hold(self, stage: str, version: str, action: str) -> list[str]:
        """Give a stage to a version; return the stages that it lost thereby."""
        stack = self.held.setdefault(stage, [])
        before = self.holders.get(stage)
        lost = []
        if stage in CLASSIC_HELD:
            lost = [one for one in CLASSIC_HELD if one != stage and self.holders.get(one) == version]
            for one in lost:
                self._release(one)
            if before and before != version:
                self.classic[before] = ARCHIVED
            self.classic[version] = stage
        if before != version:
            if action == ROLLBACK and version in stack:
                while stack[-1] != version:  # a rollback forgets what came after, or it would go in a circle
                    stack.pop()
            else:
                stack.append(version)
        self.holders[stage] = version
        return lost

    def _release(self, stage: str) -> None:
        self.holders[stage] = None
        self.held[stage].pop()


def _record(key: str, tags: Mapping[str, str]) -> Record:
    count, _, text = tags[key].partition(":")
    text += "".join(tags[f"{key}.{number}"] for number in range(2, int(count) + 1))
    said: dict[str, Any] = json.loads(text)
    datetime.fromisoformat(said["at"])
    checks = tuple(Check(**one) for one in said.pop("checks", ()))
    return Record(**said, checks=checks, key=key)
