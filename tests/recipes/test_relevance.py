"""What a column tells about the target."""

from __future__ import annotations

import numpy as np
import pytest

from mlctl.recipes.relevance import relevance

pytestmark = pytest.mark.unit

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=2000)


def test_a_column_that_determines_the_target_tells_nearly_everything() -> None:
    assert relevance(NUMBERS, np.exp(NUMBERS), classes=0) > 0.95
    assert relevance(NUMBERS, NUMBERS**2, classes=0) > 0.9  # in any direction
    assert relevance(NUMBERS, np.digitize(NUMBERS, [-1, 0.5]), classes=3) > 0.8


def test_chance_tells_nothing() -> None:
    assert relevance(NUMBERS, RNG.normal(size=2000), classes=0) < 0.03
    assert relevance(NUMBERS, RNG.integers(0, 2, 2000), classes=2) < 0.03


def test_gaps_do_not_count() -> None:
    numbers = NUMBERS.copy()
    numbers[::3] = np.nan
    assert relevance(numbers, NUMBERS, classes=0) > 0.95


@pytest.mark.parametrize("numbers", [np.full(100, np.nan), np.ones(100), np.arange(100.0)[:5]])
def test_a_column_without_differences_tells_nothing(numbers: np.ndarray) -> None:
    assert relevance(numbers, np.arange(len(numbers), dtype=float), classes=0) == 0
