"""Sparse bags compared with the dense matrix that they represent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlctl.data.builtin.prepared_bags import load_bags, save_bags
from mlctl.data.sparse_bags import SparseBags

pytestmark = pytest.mark.unit


def ranks_and_matrix(rows: int = 200, width: int = 50) -> tuple[list[list[int]], np.ndarray]:
    """Return random ranks of words, some beyond the width, and the dense matrix."""
    rng = np.random.default_rng(3)
    lists = [rng.integers(1, width + 20, rng.integers(0, 30)).tolist() for _ in range(rows)]
    dense = np.zeros((rows, width), np.float32)
    for row, ranks in enumerate(lists):
        for rank in ranks:
            if rank <= width:
                dense[row, rank - 1] = 1
    return lists, dense


def test_bags_equal_the_dense_matrix() -> None:
    lists, dense = ranks_and_matrix()
    bags = SparseBags.from_lists(lists, 50, base=1)
    assert bags.ids.dtype == np.uint16
    np.testing.assert_array_equal(bags.dense(), dense)
    for row in range(len(bags)):
        assert bags[row].tolist() == np.flatnonzero(dense[row]).tolist()


def test_take_and_concatenate() -> None:
    lists, dense = ranks_and_matrix()
    bags = SparseBags.from_lists(lists, 50, base=1)
    rows = np.array([7, 7, 0, 199, 3])
    np.testing.assert_array_equal(bags.take(rows).dense(), dense[rows])
    assert len(bags.take(np.array([], int))) == 0
    both = SparseBags.concatenate(bags.take(np.arange(80)), bags.take(np.arange(80, 200)))
    np.testing.assert_array_equal(both.dense(), dense)


def test_wide_rows_have_wider_ids() -> None:
    bags = SparseBags.from_lists([[99_999, 5, 5], []] * 30_000, 100_000)
    assert bags.ids.dtype == np.uint32
    assert len(bags) == 60_000
    assert bags[59_998].tolist() == [5, 99_999]
    assert bags[59_999].tolist() == []


@pytest.mark.parametrize("invalid", [[0], [-5], [1.5], ["one"], [None], [1 << 40], [[1]]])
def test_an_error_names_the_row_of_an_invalid_rank(invalid: list) -> None:
    with pytest.raises(ValueError, match="row 2"):
        SparseBags.from_lists([[1], [], invalid, [3]], 50, base=1)


def test_one_long_list_that_is_used_many_times_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers in all"):
        SparseBags.from_lists([[1] * 100_000] * 10_000, 50, base=1)


def test_a_saved_file_is_loaded_unless_it_is_damaged(tmp_path: Path) -> None:
    bags = SparseBags.from_lists(ranks_and_matrix()[0], 50, base=1)
    targets = np.arange(200) % 2
    path = tmp_path / "deep" / "prepared.npz"
    assert load_bags(path) is None
    save_bags(path, bags, targets)
    loaded = load_bags(path)
    assert loaded is not None
    np.testing.assert_array_equal(loaded[0].dense(), bags.dense())
    np.testing.assert_array_equal(loaded[1], targets)
    assert [file.name for file in path.parent.iterdir()] == ["prepared.npz"]

    content = path.read_bytes()
    for position in (0, 300, len(content) // 2, len(content) - 10):
        damaged = bytearray(content)
        damaged[position : position + 4] = b"\xff\xff\xff\xff"
        path.write_bytes(damaged)
        loaded = load_bags(path)
        assert loaded is None or (loaded[0].dense() == bags.dense()).all()
    path.write_bytes(content[: len(content) // 2])
    assert load_bags(path) is None


def test_bags_with_values() -> None:
    starts = np.array([0, 2, 2, 3])
    sources = np.array(["a", "b", "c"], object)
    bags = SparseBags(
        np.array([1, 4, 0], np.uint16), starts, 5, np.array([0.5, 0.25, 2.0], np.float32), sources
    )
    dense = np.array([[0, 0.5, 0, 0, 0.25], [0] * 5, [2.0, 0, 0, 0, 0]], np.float32)
    np.testing.assert_array_equal(bags.dense(), dense)
    taken = bags.take(np.array([2, 0, 0, 1]))
    np.testing.assert_array_equal(taken.dense(), dense[[2, 0, 0, 1]])
    assert taken.sources is not None
    assert taken.sources.tolist() == ["c", "a", "a", "b"]
    joined = SparseBags.concatenate(bags, taken)
    np.testing.assert_array_equal(joined.dense(), dense[[0, 1, 2, 2, 0, 0, 1]])
    assert joined.sources is not None
    assert joined.sources.tolist() == ["a", "b", "c", "c", "a", "a", "b"]
