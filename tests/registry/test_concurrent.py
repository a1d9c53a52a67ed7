"""Promoters at once, and killed: the history, the aliases and the stages agree after every round."""

from __future__ import annotations

import random

import pytest

from tests.soak import promotions

ROUNDS = 10


@pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres")), "server"]
)
def test_the_history_decides_whoever_comes_and_whoever_is_killed(kind: str) -> None:
    chance = random.Random(1)
    with promotions.place(kind) as uri, promotions.Crew(uri) as crew:
        crew.told("make", "busy")
        rounds = [
            crew.round("busy", chance, kill=number % promotions.KILL_EVERY == 1) for number in range(ROUNDS)
        ]
    assert [fault for one in rounds for fault in one.faults] == []
    assert [error for one in rounds for error in one.failed] == []
    assert sum(one.answered for one in rounds) >= ROUNDS * 2
    assert sum(one.killed for one in rounds) > 0


def test_the_check_itself_sees_what_is_wrong() -> None:
    history = [
        {"stage": "Production", "version": "1", "replaced": None, "released": []},
        {"stage": "Production", "version": "2", "replaced": "1", "released": []},
    ]
    agreeing = {"production": "2"}, {"1": "Archived", "2": "Production"}
    assert promotions.faults_of(history, *agreeing) == []
    assert promotions.faults_of(history, {"production": "1"}, agreeing[1])
    assert promotions.faults_of(history, agreeing[0], {"1": "Production", "2": "Production"})
    assert promotions.faults_of([{**history[0], "replaced": "3"}, history[1]], *agreeing)
