"""Several promoters at once, some of them killed: history, aliases and stages agree after every round."""

from __future__ import annotations

import random

import pytest

from tests.soak import promotions

ROUNDS = 10


@pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        pytest.param("postgres", marks=[pytest.mark.live, pytest.mark.needs("postgres")]),
        pytest.param("server", marks=pytest.mark.live),
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
        {"stage": "Production", "version": "1", "replaced": None, "released": []},
        {"stage": "Production", "version": "2", "replaced": "1", "released": []},
    ]
    consistent = {"production": "2"}, {"1": "Archived", "2": "Production"}
    assert promotions.find_faults(history, *consistent) == []
    assert promotions.find_faults(history, {"production": "1"}, consistent[1])
    assert promotions.find_faults(history, consistent[0], {"1": "Production", "2": "Production"})
    assert promotions.find_faults([{**history[0], "replaced": "3"}, history[1]], *consistent)
