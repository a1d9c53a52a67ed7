"""Whether arrays that a script trains and evaluates on have rows in common."""

from __future__ import annotations

import numpy as np
import pytest

from mlctl.adapters.scripts.array_digests import overlap, region

pytestmark = pytest.mark.unit

TABLE = np.arange(60.0).reshape(20, 3)
COLUMNS = np.asfortranarray(TABLE)  # as DataFrame.to_numpy() returns it


@pytest.mark.parametrize("data", [TABLE, COLUMNS, TABLE[:, 0], TABLE[:, 1:], TABLE.reshape(20, 3, 1)])
@pytest.mark.parametrize(
    ("some", "other", "expected"),
    [
        (slice(10), slice(10, None), False),
        (slice(11), slice(10, None), True),
        (slice(None), slice(5, 6), True),
        (slice(None, None, 2), slice(1, None, 2), False),
        (slice(None, None, 2), slice(None, None, 3), True),
        (slice(None, None, -1), slice(3), True),
    ],
)
def test_rows_in_common(data: np.ndarray, some: slice, other: slice, expected: bool) -> None:
    assert overlap([region(data[some])], [region(data[other])]) is expected


def test_other_arrays_have_none_in_common() -> None:
    copy = TABLE.copy()
    assert not overlap([region(TABLE)], [region(copy)])
    freed = [region(TABLE.copy())]
    assert not overlap(freed, [region(copy)])
    assert region(np.array(["a"], dtype=object)) is None
    assert region(np.empty((0, 3))) is None
    assert region([1, 2]) is None
