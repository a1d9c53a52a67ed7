"""The state that follows from a model's history records; no store is needed."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from mlctl.domain.registry import GateCheck
from mlctl.domain.tags import VOID_PREFIX
from mlctl.services.models import history
from mlctl.services.models.history import MoveRecord
from mlctl.services.models.history_tags import (
    MAX_TAG_LENGTH,
    HistoryWrite,
    add_records,
    next_key,
    read_records,
)

pytestmark = pytest.mark.unit


def replay(*moves: str) -> history.HistoryState:
    """Replay moves such as "1 Production" and "rollback 2 Production"."""
    records = []
    for number, move in enumerate(moves):
        *action, version, stage = move.split()
        records.append(
            record(
                stage,
                version,
                at=f"2026-11-01T12:00:{number:02}+00:00",
                action=action[0] if action else "promote",
                key=f"key{number}",
            )
        )
    return history.replay(records)


def record(stage: str, version: str, **fields: Any) -> MoveRecord:
    common = {"at": "2026-11-01T12:00+00:00", "by": "ann", "action": "promote"}
    return MoveRecord(stage=stage, version=version, **{**common, **fields})


def add_record(tags: dict[str, str], key: str, added: MoveRecord) -> HistoryWrite:
    return add_records(tags, [replace(added, key=key)])


def replaced(state: history.HistoryState) -> list[str | None]:
    return [entry.replaced for entry in state.entries]


def test_each_move_replaces_the_holder() -> None:
    state = replay("1 Production", "2 Production", "2 Production", "3 Production")
    assert replaced(state) == [None, "1", "2", "2"]
    assert list(state.changed.values()) == [True, True, False, True]
    assert state.holders == {"Production": "3"}
    assert state.classic == {"1": "Archived", "2": "Archived", "3": "Production"}


def test_repeated_rollbacks_go_further_back() -> None:
    state = replay(
        "1 Production", "2 Production", "3 Production", "rollback 2 Production", "rollback 1 Production"
    )
    assert replaced(state) == [None, "1", "2", "3", "2"]
    assert state.stacks["Production"] == ("1",)


def test_a_promotion_after_a_rollback() -> None:
    state = replay("1 Production", "2 Production", "rollback 1 Production", "3 Production")
    assert state.stacks["Production"] == ("1", "3")


def test_staging_and_production_exclude_each_other() -> None:
    state = replay("1 Staging", "1 Production")
    assert state.holders == {"Staging": None, "Production": "1"}
    assert state.entries[1].released == ("Staging",)


@pytest.mark.parametrize("stage", ["None", "Archived"])
def test_none_and_archived_release_the_held_stages(stage: str) -> None:
    state = replay("1 Production", "1 Canary", f"1 {stage}", "2 Production")
    assert state.entries[2].released == ("Production", "Canary")
    assert replaced(state) == [None, None, None, None]
    assert state.holders == {"Production": "2", "Canary": None}
    assert state.classic["1"] == stage


def test_an_own_stage_archives_nothing() -> None:
    state = replay("1 Production", "1 Canary", "2 Canary")
    assert state.holders == {"Production": "1", "Canary": "2"}
    assert state.classic == {"1": "Production"}


def test_the_first_record_replaces_what_other_tools_had_set() -> None:
    state = history.replay([record("Production", "2", initial_holders={"Production": "1"}, key="k")])
    assert replaced(state) == ["1"]
    assert state.stacks["Production"] == ("1", "2")
    assert state.classic["1"] == "Archived"


def test_a_long_record_is_split_and_read_back() -> None:
    written = record(
        "Production",
        "1",
        reason="ü" * 9000,
        checks=(GateCheck(check="require f1", wanted=">= 0.9", found=0.91, holds=True),),
        run_id="r",
        initial_holders={"Staging": "2"},
    )
    tags = add_record({}, next_key({}), written).tags
    assert len(tags) > 2
    assert all(len(value) < 5000 for _, value in tags)
    (read,) = read_records(dict(tags))
    assert read == replace(written, key=read.key)


def test_the_stored_form_does_not_change() -> None:
    """Models that an earlier version promoted must keep their history."""
    key = "mlctl.log.0000000001.0123456789ab"
    text = (
        '1:{"at":"2026-11-01T12:00+00:00","by":"ann","action":"promote","stage":"Production","version":"2",'
        '"reason":"better","came_from":"Staging","found":{"Production":"1"},"run_id":"r","data_sha256":"d",'
        '"checks":[{"check":"require f1","wanted":">= 0.9","found":0.91,"holds":true}]}'
    )
    (read,) = read_records({key: text})
    assert (read.previous_stage, read.initial_holders) == ("Staging", {"Production": "1"})
    assert add_record({}, key, read).tags == ((key, text),)


class Model:
    """The tags of a model, which several writers change."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.written: list[str] = []

    def begin(self, version: str, read: dict[str, str] | None = None) -> list[str]:
        """Write a move after reading these tags, or the present ones; return the tags that are to be deleted."""
        read = dict(self.tags) if read is None else read
        key = next_key(read)
        write = add_record(read, key, record("Production", version))
        self.tags.update(write.tags)
        self.written.append(key)
        return list(write.superseded)

    def delete(self, tags: list[str]) -> None:
        for tag in tags:
            self.tags.pop(tag, None)


def test_a_long_history_is_one_readable_tag_until_that_is_full() -> None:
    model = Model()
    for number in range(1, 13):
        model.delete(model.begin(str(number)))
    ((key, text),) = model.tags.items()
    assert key == model.written[-1]
    assert text.startswith(
        "1: 12 moves, listed by mlctl models history; the last: version 12 to Production, "
    )
    assert len(text) < 1500
    assert [read.version for read in read_records(model.tags)] == [str(number) for number in range(1, 13)]
    for number in range(13, 150):
        model.delete(model.begin(str(number)))
    assert len(model.tags) < 5
    assert all(len(text) <= MAX_TAG_LENGTH + 2 for text in model.tags.values())
    assert [read.version for read in read_records(model.tags)] == [str(number) for number in range(1, 150)]


def test_records_of_an_earlier_version_become_part_of_the_tag() -> None:
    model = Model()
    model.tags = {
        f"mlctl.log.{number:010d}.0123456789ab": f'1:{{"at":"2026-11-01T12:00+00:00","by":"ann",'
        f'"action":"promote","stage":"Production","version":"{number}"}}'
        for number in (1, 2, 3)
    }
    model.delete(model.begin("4"))
    assert len(model.tags) == 1
    assert [read.version for read in read_records(model.tags)] == ["1", "2", "3", "4"]


def test_no_record_is_lost_whoever_writes_at_the_same_time() -> None:
    """Writers read, write and delete in any order, with what they read long ago; some are killed before they delete."""
    chance = random.Random(0)
    for _ in range(100):
        model = Model()
        reads: list[dict[str, str]] = []
        deletions: list[list[str]] = []
        for number in range(30):
            step = chance.randrange(4)
            if step == 0 or not reads:
                reads.append(dict(model.tags))
            elif step == 1:
                deletions.append(model.begin(str(number), reads.pop(chance.randrange(len(reads)))))
            elif step == 2 and deletions:
                planned = deletions.pop(chance.randrange(len(deletions)))
                model.delete(planned[: chance.randint(0, len(planned))])
            else:
                model.delete(model.begin(str(number)))
            assert [read.key for read in read_records(model.tags)] == sorted(model.written)


def test_a_damaged_tag_is_left_as_it_is() -> None:
    damaged = {"mlctl.log.0000000001.0123456789ab": "1: 2 moves, listed by mlctl models history; eJwrtQ=="}
    write = add_record(damaged, next_key(damaged), record("Production", "1"))
    assert write.superseded == ()
    assert [read.version for read in read_records({**damaged, **dict(write.tags)})] == ["1"]


def test_an_incomplete_record_is_ignored() -> None:
    tags = add_record({}, next_key({}), record("Production", "1", reason="x" * 9000)).tags
    for killed_after in range(len(tags)):
        assert read_records(dict(tags[:killed_after])) == ()


def test_keys_are_unique_and_follow_the_existing_ones() -> None:
    tags = {next_key({}): "", next_key({}): ""}
    assert len(tags) == 2
    assert next_key(tags) > max(tags)


def test_void_records_and_foreign_tags_are_ignored() -> None:
    key = next_key({})
    tags = dict(add_record({}, key, record("Production", "1")).tags)
    assert len(read_records(tags)) == 1
    assert read_records({**tags, VOID_PREFIX + key: "why"}) == ()
    assert read_records({key: "1:nonsense", "mlctl.log.x": "1:{}", "team": "vision"}) == ()


def test_random_moves_form_an_unbroken_chain() -> None:
    chance = random.Random(0)
    for _ in range(200):
        stages = ("Production", "Staging", "Canary", "Archived", "None")
        moves = [
            f"{chance.choice(('promote', 'rollback'))} {chance.randint(1, 4)} {chance.choice(stages)}"
            for _ in range(20)
        ]
        state = replay(*moves)
        holders: dict[str, str | None] = {}
        for entry in state.entries:
            if entry.stage not in ("Archived", "None"):
                assert entry.replaced == holders.get(entry.stage)
                holders[entry.stage] = entry.version
            for stage in entry.released:
                holders[stage] = None
        assert holders == dict(state.holders)
        for stage, holder in holders.items():
            assert not holder or state.stacks[stage][-1] == holder
