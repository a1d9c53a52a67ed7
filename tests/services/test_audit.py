"""What a model's records say when they are read in order: no store is needed for that."""

from __future__ import annotations

import random

import pytest

from mlctl.domain.registry import GateCheck
from mlctl.domain.tags import VOID_PREFIX
from mlctl.services.models import history
from mlctl.services.models.history import MoveRecord


def said(*moves: str) -> history.HistoryState:
    """Replay moves such as "1 Production" and "rollback 2 Production"."""
    found = []
    for number, move in enumerate(moves):
        *action, version, stage = move.split()
        found.append(
            MoveRecord(
                f"2026-11-01T12:00:{number:02}+00:00", "ann", action[0] if action else "promote", stage, version,
                key=f"key{number}",
            )
        )  # fmt: skip
    return history.replay(found)


def replaced(outcome: history.HistoryState) -> list[str | None]:
    return [move.replaced for move in outcome.entries]


def test_each_move_replaces_who_held_the_stage() -> None:
    outcome = said("1 Production", "2 Production", "2 Production", "3 Production")
    assert replaced(outcome) == [None, "1", "2", "2"]
    assert list(outcome.changed.values()) == [True, True, False, True]
    assert outcome.holders == {"Production": "3"}
    assert outcome.classic == {"1": "Archived", "2": "Archived", "3": "Production"}


def test_rolling_back_walks_back_and_never_in_a_circle() -> None:
    outcome = said(
        "1 Production", "2 Production", "3 Production", "rollback 2 Production", "rollback 1 Production"
    )
    assert replaced(outcome) == [None, "1", "2", "3", "2"]
    assert outcome.held["Production"] == ("1",)


def test_after_a_rollback_a_promotion_goes_on_from_there() -> None:
    outcome = said("1 Production", "2 Production", "rollback 1 Production", "3 Production")
    assert outcome.held["Production"] == ("1", "3")


def test_staging_and_production_exclude_each_other() -> None:
    outcome = said("1 Staging", "1 Production")
    assert outcome.holders == {"Staging": None, "Production": "1"}
    assert outcome.entries[1].released == ("Staging",)


@pytest.mark.parametrize("state", ["None", "Archived"])
def test_none_and_archived_release_what_was_held(state: str) -> None:
    outcome = said("1 Production", "1 Canary", f"1 {state}", "2 Production")
    assert outcome.entries[2].released == ("Production", "Canary")
    assert replaced(outcome) == [None, None, None, None]
    assert outcome.holders == {"Production": "2", "Canary": None}
    assert outcome.classic["1"] == state


def test_a_stage_of_ones_own_is_held_beside_and_archives_nobody() -> None:
    outcome = said("1 Production", "1 Canary", "2 Canary")
    assert outcome.holders == {"Production": "1", "Canary": "2"}
    assert outcome.classic == {"1": "Production"}


def test_what_other_tools_had_set_is_replaced_by_the_first_record() -> None:
    outcome = history.replay([MoveRecord("2026-11-01T12:00+00:00", "a", "promote", "Production", "2",
                                   found={"Production": "1"}, key="k")])  # fmt: skip
    assert replaced(outcome) == ["1"]
    assert outcome.held["Production"] == ("1", "2")
    assert outcome.classic["1"] == "Archived"


def test_a_long_record_is_split_and_comes_back_whole() -> None:
    record = MoveRecord("2026-11-01T12:00+00:00", "ann", "promote", "Production", "1", reason="ü" * 9000,
                    checks=(GateCheck(check="require f1", wanted=">= 0.9", found=0.91, holds=True),), run_id="r", found={"Staging": "2"})  # fmt: skip
    tags = history.tags_of(history.next_key({}), record)
    assert len(tags) > 2
    assert all(len(value) < 5000 for _, value in tags)
    (back,) = history.records(dict(tags))
    assert (back.reason, back.checks, back.found) == (record.reason, record.checks, record.found)


def test_a_record_counts_only_when_it_is_whole() -> None:
    record = MoveRecord("2026-11-01T12:00+00:00", "ann", "promote", "Production", "1", reason="x" * 9000)
    tags = history.tags_of(history.next_key({}), record)
    for killed_after in range(len(tags)):
        assert history.records(dict(tags[:killed_after])) == ()


def test_keys_order_writers_that_saw_the_same_and_come_after_what_was_seen() -> None:
    tags = {history.next_key({}): "", history.next_key({}): ""}
    assert len(tags) == 2
    assert history.next_key(tags) > max(tags)


def test_a_void_record_and_a_tag_of_somebody_else_say_nothing() -> None:
    record = MoveRecord("2026-11-01T12:00+00:00", "ann", "promote", "Production", "1")
    key = history.next_key({})
    tags = dict(history.tags_of(key, record))
    assert len(history.records(tags)) == 1
    assert history.records({**tags, VOID_PREFIX + key: "why"}) == ()
    assert history.records({key: "1:nonsense", "mlctl.log.x": "1:{}", "team": "vision"}) == ()


def test_any_course_of_moves_leaves_no_gap() -> None:
    chance = random.Random(0)
    for _ in range(200):
        stages = ("Production", "Staging", "Canary", "Archived", "None")
        moves = [
            f"{chance.choice(('promote', 'rollback'))} {chance.randint(1, 4)} {chance.choice(stages)}"
            for _ in range(20)
        ]
        outcome = said(*moves)
        holders: dict[str, str | None] = {}
        for move in outcome.entries:
            if move.stage not in ("Archived", "None"):
                assert move.replaced == holders.get(move.stage)
                holders[move.stage] = move.version
            for stage in move.released:
                holders[stage] = None
        assert holders == dict(outcome.holders)
        for stage, holder in holders.items():
            assert not holder or outcome.held[stage][-1] == holder
