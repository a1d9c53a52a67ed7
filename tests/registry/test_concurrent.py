"""Several promoters at once, some of them killed: history, aliases and stages agree after every round."""

from __future__ import annotations

import os
import random

import pytest

from tests.soak import promotions

ROUNDS = 200 if os.environ.get("MLCTL_TEST_LONG") else 10


@pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        pytest.param("postgres", marks=[pytest.mark.live, pytest.mark.needs("postgres")]),
        pytest.param("server", marks=[pytest.mark.live, pytest.mark.long]),
    ],
)
def test_the_history_decides(kind: str) -> None:
    rng = random.Random(1)
    with promotions.empty_store(kind) as uri, promotions.PromoterPool(uri) as pool:
        pool.call_reader("make", "busy")
        rounds = [
            pool.run_round("busy", rng, kill=number % promotions.KILL_EVERY == 1) for number in range(ROUNDS)
        ]
    assert [fault for result in rounds for fault in result.faults] == []
    assert [error for result in rounds for error in result.failed] == []
    assert sum(result.answered for result in rounds) >= ROUNDS * 2
    assert sum(result.killed for result in rounds) > 0


def test_find_faults() -> None:
    history = [
        {
            "stage": "Production",
            "version": "1",
            "replaced": None,
            "released": [],
            "at": "2026-11-01T12:00+00:00",
        },
        {
            "stage": "Production",
            "version": "2",
            "replaced": "1",
            "released": [],
            "at": "2026-11-01T12:01+00:00",
        },
    ]
    consistent = {"production": "2"}, {"1": "Archived", "2": "Production"}
    assert promotions.find_faults(history, *consistent) == []
    assert promotions.find_faults(history, {"production": "1"}, consistent[1])
    assert promotions.find_faults(history, consistent[0], {"1": "Production", "2": "Production"})
    assert promotions.find_faults([{**history[0], "replaced": "3"}, history[1]], *consistent)
    assert promotions.find_faults([history[0], {**history[1], "at": "2026-11-01T11:59+00:00"}], *consistent)


def test_find_poll_faults() -> None:
    history = [
        {
            "stage": "Production",
            "version": "1",
            "released": [],
            "at": "1970-01-01T00:00:10+00:00",
            "reason": "a",
        },
        {
            "stage": "Production",
            "version": "2",
            "released": [],
            "at": "1970-01-01T00:00:20+00:00",
            "reason": "b",
        },
    ]
    ended = {"a": 10.5, "b": 20.5}

    def faults(at: float, version: str | None) -> list[str]:
        return promotions.find_poll_faults(history, [promotions.Poll(at, at + 0.1, version)], ended)[0]

    for at, version in (
        (9.0, None),
        (10.2, None),
        (10.2, "1"),
        (19.0, "1"),
        (20.2, "1"),
        (20.2, "2"),
        (30.0, "2"),
    ):
        assert faults(at, version) == []
    for at, version in ((9.0, "1"), (11.0, None), (19.0, "2"), (21.0, "1")):
        assert faults(at, version)
