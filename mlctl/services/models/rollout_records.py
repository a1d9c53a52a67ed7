"""A model's tags about its rollouts: one for each rollout that ended, which the history shows among the moves.

They are no records of moves: a rollout changes no stage, and earlier versions of mlctl ignore these tags.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mlctl.adapters.tracking.registry import Registry
from mlctl.domain.registry import GateCheck, HistoryEntry
from mlctl.domain.tags import ROLLOUT_PREFIX

ROLLOUT = "rollout"
MAX_TAG_LENGTH = 4000
MAX_REASON_LENGTH = 1000


def write_rollout(registry: Registry, name: str, rollout_id: str, entry: HistoryEntry) -> None:
    """Write how a rollout ended to the model's tags; writing it again changes nothing."""
    document = {
        "at": entry.at.isoformat(timespec="milliseconds"),
        "by": entry.by,
        "version": entry.version,
        "replaced": entry.replaced,
        "reason": entry.reason[:MAX_REASON_LENGTH],
        "checks": [vars(check) for check in entry.checks],
    }
    text = json.dumps(document, separators=(",", ":"))
    if len(text) > MAX_TAG_LENGTH:
        text = json.dumps({**document, "checks": []}, separators=(",", ":"))
    registry.set_model_tag(name, ROLLOUT_PREFIX + rollout_id, text)


def read_rollouts(tags: Mapping[str, str]) -> tuple[HistoryEntry, ...]:
    """Return the rollouts in these tags, oldest first. What cannot be read is left out: anyone can edit a tag."""
    entries = []
    for key, text in tags.items():
        if key.startswith(ROLLOUT_PREFIX):
            try:
                entries.append(_to_entry(json.loads(text)))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
    return tuple(sorted(entries, key=lambda entry: entry.at))


def merge(moves: Sequence[HistoryEntry], rollouts: Iterable[HistoryEntry]) -> tuple[HistoryEntry, ...]:
    """Return moves, whose order stays, with each rollout before the first move that is later."""
    merged = list(moves)
    for rollout in rollouts:
        later = (index for index, entry in enumerate(merged) if entry.at > rollout.at)
        merged.insert(next(later, len(merged)), rollout)
    return tuple(merged)


def _to_entry(document: dict[str, Any]) -> HistoryEntry:
    at = datetime.fromisoformat(document["at"])
    return HistoryEntry(
        at=at if at.tzinfo else at.replace(tzinfo=UTC),
        by=str(document["by"]),
        action=ROLLOUT,
        stage="",
        version=str(document["version"]),
        replaced=document.get("replaced"),
        reason=str(document["reason"]),
        checks=tuple(GateCheck(**check) for check in document.get("checks", ())),
    )
