"""How a model's tags hold its history: few tags, each of many records.

A tag's key is that of the newest record in it: a counter, one higher than the highest that its writer read, and a
random part, which keeps two writers apart that read the same. A store cannot change a tag only if nobody else has
changed it meanwhile, so no tag is ever overwritten: a move is written as a new tag, together with the records of the
tags that its writer has read, and these are deleted afterwards. A tag is thus deleted only when another one holds all
of its records and one more, so that no record is lost, whoever else writes or is killed at that time. Reading the
same record in two tags counts once.

A tag that is full stays as it is. What does not fit into one tag continues in further tags, which are written before
it, so a tag that exists is complete. A record is void if another tag says so.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlctl.domain.registry import GateCheck
from mlctl.domain.tags import HISTORY_PREFIX, VOID_PREFIX
from mlctl.services.models.history import MoveRecord

RECORD_KEY = re.compile(r"mlctl\.log\.(\d{10})\.([0-9a-f]{12})")
MAX_TAG_LENGTH = 4000  # PostgreSQL's column holds 5000 characters
MAX_TEXT_LENGTH = 10_000_000  # of the records in one tag: anyone can edit a tag
STORED_NAMES = {
    "previous_stage": "came_from",
    "initial_holders": "found",
}  # field -> key in the stored record
FIELD_NAMES = {stored: name for name, stored in STORED_NAMES.items()}
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, zlib.error)  # anyone can edit a tag

Tags = Mapping[str, str]


@dataclass(frozen=True)
class HistoryWrite:
    """What adds a record to a model's tags.

    Attributes:
        tags: Tags to set, in this order: the deciding one is last.
        superseded: Tags to delete afterwards, in this order.
    """

    tags: tuple[tuple[str, str], ...]
    superseded: tuple[str, ...]


def next_key(tags: Tags, writer: str = "", offset: int = 1) -> str:
    """Return a key that follows every record in these tags; `writer` is its second part, random by default."""
    numbers = [int(match[1]) for key in tags if (match := RECORD_KEY.fullmatch(key))]
    return f"{HISTORY_PREFIX}{max(numbers, default=0) + offset:010d}.{writer or secrets.token_hex(6)}"


def writer_of(key: str) -> str:
    """Return the second part of a record's key."""
    return key.rpartition(".")[2]


def add_records(tags: Tags, added: Sequence[MoveRecord]) -> HistoryWrite:
    """Return how records, each with a key that follows those of these tags, are added in one write."""
    records = {record.key: record for record in added}
    key = max(records)
    superseded: list[str] = []
    for other in sorted(filter(RECORD_KEY.fullmatch, tags), reverse=True):
        try:
            merged = {**records, **_records_in(other, tags)}
        except UNREADABLE:
            continue
        if len(_to_text(merged)) > MAX_TAG_LENGTH:
            break
        records = merged
        superseded += [other, *(tag for tag in tags if tag.startswith(f"{other}."))]
    text = _to_text(records)
    pieces = [text[start : start + MAX_TAG_LENGTH] for start in range(0, len(text), MAX_TAG_LENGTH)]
    continued = [(f"{key}.{number}", piece) for number, piece in enumerate(pieces[1:], start=2)]
    return HistoryWrite((*continued, (key, f"{len(pieces)}:{pieces[0]}")), tuple(superseded))


def read_records(tags: Tags) -> tuple[MoveRecord, ...]:
    """Return the valid records in these tags, in their order. Other tags are ignored."""
    records: dict[str, MoveRecord] = {}
    for key in filter(RECORD_KEY.fullmatch, tags):
        try:
            records.update(_records_in(key, tags))
        except UNREADABLE:
            continue
    return tuple(records[key] for key in sorted(records) if VOID_PREFIX + key not in tags)


def _records_in(key: str, tags: Tags) -> dict[str, MoveRecord]:
    """Return the records that one tag holds, by key: one, as earlier versions wrote it, or several."""
    count, _, text = tags[key].partition(":")
    text += "".join(tags[f"{key}.{number}"] for number in range(2, int(count) + 1))
    if text.startswith("{"):
        return {key: _from_json(key, json.loads(text))}
    stored: dict[str, Any] = json.loads(_decompress(text.rpartition(" ")[2]))
    return {
        HISTORY_PREFIX + name: _from_json(HISTORY_PREFIX + name, fields) for name, fields in stored.items()
    }


def _to_text(records: Mapping[str, MoveRecord]) -> str:
    """Return records as the text of a tag; several are compressed, below a line for people."""
    newest = records[max(records)]
    if len(records) == 1:
        return _dump(_to_json(newest))
    stored = {key.removeprefix(HISTORY_PREFIX): _to_json(records[key]) for key in sorted(records)}
    packed = base64.b64encode(zlib.compress(_dump(stored).encode(), 9)).decode()
    return (
        f" {len(records)} moves, listed by mlctl models history; the last: version {newest.version}"
        f" to {_ascii(newest.stage)}, {newest.at} {packed}"
    )


def _decompress(packed: str) -> bytes:
    decompressor = zlib.decompressobj()
    text = decompressor.decompress(base64.b64decode(packed, validate=True), MAX_TEXT_LENGTH)
    if not decompressor.eof:
        raise ValueError("the text is incomplete or too long")
    return text


def _to_json(record: MoveRecord) -> dict[str, Any]:
    fields = {
        STORED_NAMES.get(name, name): value
        for name, value in vars(record).items()
        if value and name not in {"key", "checks"}
    }
    if record.checks:
        fields["checks"] = [vars(check) for check in record.checks]
    return fields


def _from_json(key: str, stored: dict[str, Any]) -> MoveRecord:
    datetime.fromisoformat(stored["at"])
    checks = tuple(GateCheck(**check) for check in stored.pop("checks", ()))
    fields = {FIELD_NAMES.get(name, name): value for name, value in stored.items()}
    return MoveRecord(**fields, checks=checks, key=key)


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))  # ASCII, because a database may not support more


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
