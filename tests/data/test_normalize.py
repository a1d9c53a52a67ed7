"""The forms in which a recipe may return a split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.data.dataset import Dataset, Split
from mlctl.data.normalize import normalize_dataset, normalize_split
from mlctl.domain.outputs import pixels

pytestmark = pytest.mark.unit

X, Y = np.zeros((6, 3), np.float32), np.zeros(6, np.int64)


@pytest.mark.parametrize("split", [(X, Y), Split(X, Y), (X.tolist(), Y.tolist()), Split(X, pd.Series(Y))])
def test_inputs_and_targets_become_arrays(split: Any) -> None:
    normal = normalize_split(split)
    assert normal.inputs.shape == (6, 3)
    assert isinstance(normal.targets, np.ndarray)
    assert len(normal) == 6


def test_weights_are_the_third_part() -> None:
    assert normalize_split((X, Y, [1.0] * 6)).weights.shape == (6,)


def test_a_list_of_arrays_is_one_array_for_each_input() -> None:
    normal = normalize_split(([X, X], Y))
    assert isinstance(normal.inputs, tuple)
    assert len(normal.inputs) == 2


def test_a_list_with_an_array_for_each_row_is_one_input() -> None:
    assert normalize_split((list(X), Y)).inputs.shape == (6, 3)
    rows = [np.arange(length) for length in (1, 2, 3, 1, 2, 3)]
    assert normalize_split((rows, Y)).inputs.shape == (6,)
    assert normalize_split(([[1], [1, 2], [3], [], [5], [6]], Y)).inputs.dtype == object


def test_texts_are_objects() -> None:
    for texts in (["a", "b"], np.array(["a", "b"]), pd.Series(["a", "b"])):
        normal = normalize_split((texts, [0, 1]))
        assert normal.inputs.dtype == object
        assert normal.inputs.tolist() == ["a", "b"]


def test_a_table_stays_one_as_inputs_and_is_an_array_as_targets() -> None:
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    normal = normalize_split((table, table[["a"]]))
    assert normal.inputs is table
    assert normal.targets.shape == (2, 1)


def test_nothing_is_no_split() -> None:
    assert normalize_split(None) is None


def test_batches_become_a_stream() -> None:
    class Batches:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, number: int) -> Any:
            return X[:3], Y[:3]

    assert normalize_split(Batches()).is_stream
    assert normalize_split(Split(Batches())).is_stream


def test_one_output_and_a_list_of_classes_become_tuples() -> None:
    declared: Any = pixels("a", "b")
    data = normalize_dataset(Dataset("data", Split(X, Y), outputs=declared, classes=["a", 1]))  # type: ignore[arg-type]
    assert data.outputs == (declared,)
    assert data.classes == ("a", "1")
