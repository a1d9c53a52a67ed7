"""Trees of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlctl.adapters.scripts.validated_rows import count_validated_rows
from mlctl.data.trees import count_answered_rows

pytestmark = pytest.mark.unit

ONE_HOT = np.eye(4)[[0, 3, 1, 1, 2, 0]]


@pytest.mark.parametrize(
    ("targets", "rows"),
    [
        (np.arange(6), 6),
        (np.zeros((6, 1)), 6),
        (ONE_HOT, 6),
        ({"a": np.arange(6), "b": ONE_HOT}, 6),
        (np.arange(24).reshape(6, 4), 0),  # a sequence
        ((np.arange(6), np.zeros((6, 8, 8))), 0),  # a mask
        (None, 0),
    ],
)
def test_rows_count_if_each_has_one_answer(targets: Any, rows: int) -> None:
    assert count_answered_rows(targets) == rows


def test_the_validation_rows_of_a_fit_are_known_without_reading_them() -> None:
    x, y = np.zeros((10, 3)), np.arange(10)
    assert count_validated_rows({"x": x, "y": y, "validation_data": (x[:4], y[:4])}) == 4
    assert count_validated_rows({"x": x, "y": y, "validation_split": 0.25}) == 3
    assert count_validated_rows({"x": x, "y": y}) == 0
    assert count_validated_rows({"x": x, "validation_data": (x, y), "validation_steps": 2}) == 0
    assert count_validated_rows({"x": x, "validation_data": iter([(x, y)])}) == 0
