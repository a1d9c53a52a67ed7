"""Bags against the dense matrix that they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlctl.data import sparse_bags
from mlctl.data.sparse_bags import SparseBags


def some(rows: int = 200, width: int = 50) -> tuple[list[list[int]], np.ndarray]:
    rng = np.random.default_rng(3)
    lists = [rng.integers(1, width + 20, rng.integers(0, 30)).tolist() for _ in range(rows)]
    dense = np.zeros((rows, width), np.float32)
    for row, ranks in enumerate(lists):
        for rank in ranks:
            if rank <= width:
                dense[row, rank - 1] = 1
    return lists, dense


def test_bags_are_the_multi_hot_rows() -> None:
    lists, dense = some()
    made = SparseBags.from_lists(lists, 50, base=1)
    assert made.ids.dtype == np.uint16
    np.testing.assert_array_equal(made.dense(), dense)
    for row in range(len(made)):
        assert made[row].tolist() == np.flatnonzero(dense[row]).tolist()


def test_take_and_concatenate() -> None:
    lists, dense = some()
    made = SparseBags.from_lists(lists, 50, base=1)
    rows = np.array([7, 7, 0, 199, 3])
    np.testing.assert_array_equal(made.take(rows).dense(), dense[rows])
    assert len(made.take(np.array([], int))) == 0
    both = SparseBags.concatenate(made.take(np.arange(80)), made.take(np.arange(80, 200)))
    np.testing.assert_array_equal(both.dense(), dense)


def test_wide_rows_need_wider_ids() -> None:
    made = SparseBags.from_lists([[99_999, 5, 5], []] * 30_000, 100_000)
    assert made.ids.dtype == np.uint32
    assert len(made) == 60_000
    assert made[59_998].tolist() == [5, 99_999]
    assert made[59_999].tolist() == []


@pytest.mark.parametrize("wrong", [[0], [-5], [1.5], ["one"], [None], [1 << 40], [[1]]])
def test_what_is_no_rank_is_told_with_its_row(wrong: list) -> None:
    with pytest.raises(ValueError, match="row 2"):
        SparseBags.from_lists([[1], [], wrong, [3]], 50, base=1)


def test_one_long_list_named_many_times_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers in all"):
        SparseBags.from_lists([[1] * 100_000] * 10_000, 50, base=1)


def test_what_was_saved_is_loaded_and_what_is_torn_is_not(tmp_path: Path) -> None:
    made = SparseBags.from_lists(some()[0], 50, base=1)
    targets = np.arange(200) % 2
    path = tmp_path / "deep" / "prepared.npz"
    assert sparse_bags.load(path) is None
    sparse_bags.save(path, made, targets)
    found = sparse_bags.load(path)
    assert found is not None
    np.testing.assert_array_equal(found[0].dense(), made.dense())
    np.testing.assert_array_equal(found[1], targets)
    assert [one.name for one in path.parent.iterdir()] == ["prepared.npz"]

    whole = path.read_bytes()
    for place in (0, 300, len(whole) // 2, len(whole) - 10):
        torn = bytearray(whole)
        torn[place : place + 4] = b"\xff\xff\xff\xff"
        path.write_bytes(torn)
        again = sparse_bags.load(path)
        assert again is None or (again[0].dense() == made.dense()).all()
    path.write_bytes(whole[: len(whole) // 2])
    assert sparse_bags.load(path) is None
