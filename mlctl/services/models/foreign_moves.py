"""Moves that another program made: aliases and classic stages that differ from the model's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlctl.adapters.tracking.registry import StoredModel
from mlctl.domain.registry import RegisteredVersion
from mlctl.services.models.history import OUTSIDE, PROMOTE, RELEASE, HistoryState, MoveRecord, now
from mlctl.services.models.stages import ARCHIVED, CLASSIC_STAGES, stage_alias


@dataclass(frozen=True, kw_only=True)
class ForeignMove:
    """One stage that differs from the history.

    Attributes:
        record: The move that explains the difference; it is not written yet.
        found: Version in the stage by the store; None if the stage is empty.
        recorded: Version in the stage by the history.
        message: The difference in words.
    """

    record: MoveRecord
    found: str | None
    recorded: str | None
    message: str


def find_foreign_moves(
    model: StoredModel, versions: Sequence[RegisteredVersion], history: HistoryState
) -> tuple[ForeignMove, ...]:
    """Return what differs from the history. An alias decides; the classic stages count where it is unchanged."""
    existing = {version.version for version in versions}
    moves = []
    changed_stages = set()
    for stage, holder in history.holders.items():
        recorded = holder if holder in existing else None
        found = model.aliases.get(stage_alias(stage))
        if found != recorded:
            where = f"points to {found}" if found else "is deleted"
            what = f"alias {stage_alias(stage)} {where}"
            moves.append(_move(stage, found=found, recorded=recorded, what=what, history=history))
            changed_stages.add(stage)
    settled = {move.found for move in moves} | {move.recorded for move in moves}
    for stage in CLASSIC_STAGES:
        if stage in history.holders and stage not in changed_stages:
            moves += _classic_moves(stage, versions, history, settled)
    settled |= {move.found for move in moves} | {move.recorded for move in moves}
    for version in versions:
        if version.version not in settled and (move := _shared_move(version, history)):
            moves.append(move)
    return tuple(moves)


def target_stage(version: RegisteredVersion, history: HistoryState) -> str:
    """Return the classic stage that a version must have: its present one if no record speaks of it."""
    if version.version in history.classic:
        return history.classic[version.version]
    holder = history.holders.get(version.stage) if version.stage in CLASSIC_STAGES else None
    return ARCHIVED if holder not in {None, version.version} else version.stage


def _classic_moves(
    stage: str,
    versions: Sequence[RegisteredVersion],
    history: HistoryState,
    settled: set[str | None],
) -> list[ForeignMove]:
    """Return the move of a stock client that sets the classic stage and no alias."""
    recorded = history.holders[stage]
    members = [version.version for version in versions if version.stage == stage]
    new = [member for member in members if member != recorded and member not in settled]
    if new:
        what = f"version {new[0]} is in stage {stage}"
        return [_move(stage, found=new[0], recorded=recorded, what=what, history=history)]
    holder = next((version for version in versions if version.version == recorded), None)
    if holder is None or holder.stage == stage or holder.version in settled:
        return []
    what = f"version {recorded} is in stage {holder.stage}"
    return [_move(stage, found=None, recorded=recorded, what=what, history=history)]


def _shared_move(version: RegisteredVersion, history: HistoryState) -> ForeignMove | None:
    """Return the move of a version that holds nothing from one of None and Archived to the other."""
    wanted = target_stage(version, history)
    if version.stage == wanted or {version.stage, wanted} & set(CLASSIC_STAGES):
        return None
    record = _record(PROMOTE, version.stage, version.version, history)
    message = _message(f"version {version.version} is in stage {version.stage}", wanted)
    return ForeignMove(record=record, found=version.version, recorded=None, message=message)


def _move(
    stage: str, *, found: str | None, recorded: str | None, what: str, history: HistoryState
) -> ForeignMove:
    if found is None:
        assert recorded
        record = _record(RELEASE, stage, recorded, history)
    else:
        record = _record(PROMOTE, stage, found, history)
    return ForeignMove(
        record=record, found=found, recorded=recorded, message=_message(what, recorded or "none")
    )


def _record(action: str, stage: str, version: str, history: HistoryState) -> MoveRecord:
    previous: Mapping[str, str] = history.classic
    return MoveRecord(
        at=now(),
        by=OUTSIDE,
        action=action,
        stage=stage,
        version=version,
        previous_stage=previous.get(version, "None"),
    )


def _message(what: str, recorded: str) -> str:
    return f"{what}, mlctl's history says {recorded}: changed outside mlctl"
