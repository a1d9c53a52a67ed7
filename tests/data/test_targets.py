"""Targets mean one thing in every form, or one line says what is wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.data.targets import check_targets, class_numbers, scoring_targets, with_numbering
from mlctl.domain.outputs import Output, classes, labels, pixels, sequence, values
from mlctl.errors import BadDataError

pytestmark = pytest.mark.unit

ABC, AB = ("a", "b", "c"), ("a", "b")
COVERTYPE = tuple(f"type {number}" for number in range(1, 8))


@pytest.mark.parametrize(
    ("targets", "names", "expected"),
    [
        ([0, 2, 1], ABC, [0, 2, 1]),
        (np.array([[0], [2], [1]], np.uint8), ABC, [0, 2, 1]),  # as CIFAR-10
        (np.array([0.0, 2.0], np.float32), ABC, [0, 2]),
        (np.eye(3, dtype=np.float32)[[2, 0]], ABC, [2, 0]),
        (np.eye(3, dtype=bool)[[2, 0]], ABC, [2, 0]),
        ([[0.2, 0.5, 0.3], [0.8, 0.1, 0.1]], ABC, [1, 0]),  # soft labels
        (["c", "a"], ABC, [2, 0]),
        (np.array([["c"], ["a"]], object), ABC, [2, 0]),
        ([b"c", b"a"], ABC, [2, 0]),
        (pd.Series(["b", "a"], dtype="category"), ABC, [1, 0]),
        ([1, 2, 3], ABC, [0, 1, 2]),
        (np.array([[7], [1], [3]], np.int8), COVERTYPE, [6, 0, 2]),
        (np.array([7.0, 1.0]), COVERTYPE, [6, 0]),
        ([-1, 1, 1], AB, [0, 1, 1]),
        (np.array([[-1.0], [1.0]]), AB, [0, 1]),
        ([2, 1], AB, [1, 0]),
        ([True, False], AB, [1, 0]),
        (np.array([True, False], object), AB, [1, 0]),
        ([True, False], ("True", "False"), [0, 1]),  # names go before numbers
        ([0.2, 0.9], AB, [0, 1]),  # probabilities of the second class
        ([[0.0], [1.0]], AB, [0, 1]),
        ([3, 8, 3], ("3", "8"), [0, 1, 0]),  # numbers that are names
        ([0, 255], AB, [0, 1]),
        (["1", "0"], ("0", "1"), [1, 0]),
        ([], ABC, []),
    ],
)
def test_class_numbers_of_forms_that_mean_one_thing(
    targets: Any, names: tuple[str, ...], expected: list[int]
) -> None:
    numbers = class_numbers(targets, names)
    assert numbers.tolist() == expected
    assert numbers.dtype == np.int64


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([0, 3], "targets are 0 to 3, and 3 classes need 0 to 2"),
        ([1, 4], "targets are 1 to 4, and 3 classes need 0 to 2"),
        ([-1, 2], "targets are -1 to 2, and 3 classes need 0 to 2"),
        ([0.5, 2.0], "targets are no class numbers: value 0.5 at position 0"),
        ([0.0, np.nan], "targets: row 1 has no label"),
        ([0, None], "targets: row 1 has no label"),
        (["a", None], "targets: row 1 has no label"),
        ([np.inf, 1.0], "targets are no class numbers: value inf at position 0"),
        (["a", "d"], "targets have the label 'd', which is no class"),
        ([True, False], "targets are true or false, and there are 3 classes"),
        (np.zeros((4, 2)), r"targets have shape \(4, 2\), and there are 3 classes"),
        (np.ones((4, 3)), "are no one-hot rows: a row's numbers do not sum to 1"),
        (np.zeros(3, "datetime64[D]"), "targets have the type datetime64"),
    ],
)
def test_other_forms_are_refused_in_one_line(targets: Any, message: str) -> None:
    with pytest.raises(BadDataError, match=message) as caught:
        class_numbers(targets, ABC)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_all_splits_together_say_where_labels_start() -> None:
    train, validation = np.array([1, 2, 3]), np.array([[1], [2]])
    (output,) = with_numbering((classes(*ABC),), [train, validation])
    assert scoring_targets((output,), validation).tolist() == [
        0,
        1,
    ]  # 1 and 2 alone could be the last two classes
    assert scoring_targets((classes(*ABC),), validation).tolist() == [1, 2]
    (output,) = with_numbering((classes(*ABC),), [np.array([0, 2]), validation])
    assert scoring_targets((output,), validation).tolist() == [1, 2]
    with pytest.raises(BadDataError, match="targets are 0 to 3, and 3 classes need 0 to 2"):
        scoring_targets(with_numbering((classes(*ABC),), [np.array([0, 1]), np.array([3])]), [0, 3])


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([[1, 0, 1], [0, 0, 0]], [[1, 0, 1], [0, 0, 0]]),
        (np.array([[1.0, 0.0, 1.0]], np.float32), [[1, 0, 1]]),
        (np.array([[True, False, True]]), [[1, 0, 1]]),
        (np.array([[1, -1, 1]]), [[1, 0, 1]]),
        ([["a", "c"], []], [[1, 0, 1], [0, 0, 0]]),
        ([["a", "c"], ["b", "a"]], [[1, 0, 1], [1, 1, 0]]),
        ([("a",), ("b",)], [[1, 0, 0], [0, 1, 0]]),
        ([{2}, {0, 1}], [[0, 0, 1], [1, 1, 0]]),
    ],
)
def test_labels_are_columns_of_0_and_1(targets: Any, expected: list[list[int]]) -> None:
    assert scoring_targets((labels(*ABC),), targets).tolist() == expected


def test_labels_of_other_forms_are_refused() -> None:
    for targets, message in (
        (np.zeros((2, 4)), r"targets have shape \(2, 4\), and there are 3 labels"),
        (np.full((2, 3), 2), "targets are 2 to 2"),
        ([["a"], ["x", "b"]], "row 1 has the label 'x', which the output does not have"),
    ):
        with pytest.raises(BadDataError, match=message):
            scoring_targets((labels(*ABC),), targets)


def test_masks_are_numbers_of_every_form() -> None:
    numbers = np.random.default_rng(0).integers(0, 3, (4, 5, 6))
    for targets in (numbers, numbers[..., None].astype(np.uint8), np.eye(3, dtype=np.float32)[numbers]):
        assert (scoring_targets((pixels(*ABC),), targets) == numbers).all()
    assert (scoring_targets(with_numbering((pixels(*ABC),), [numbers + 1]), numbers + 1) == numbers).all()
    mask = (numbers > 0).astype(np.uint8)[..., None] * 255
    assert (scoring_targets((pixels(*AB),), mask) == (numbers > 0)).all()
    border = numbers.astype(np.uint8)
    border[:, 0] = 255  # as in PASCAL VOC: these pixels do not count
    found = scoring_targets((pixels(*ABC),), border)
    assert (found[:, 0] == -1).all()
    assert (found[:, 1:] == numbers[:, 1:]).all()


def test_steps_of_a_sequence_are_numbers() -> None:
    numbers = np.array([[0, 2, -1], [1, 1, 2]])
    assert scoring_targets((sequence(*ABC),), numbers).tolist() == numbers.tolist()
    assert scoring_targets((sequence(*ABC),), numbers[..., None]).tolist() == numbers.tolist()
    with pytest.raises(BadDataError, match="the model answers a class for each step"):
        scoring_targets((sequence(*ABC),), [0, 1])


def test_values_are_float64_and_a_column_is_flat() -> None:
    assert scoring_targets((values(),), np.array([[1], [2]])).tolist() == [1.0, 2.0]
    assert scoring_targets((values(),), np.zeros((4, 2), np.float32)).dtype == np.float64
    assert scoring_targets((values(),), np.array([1, 2.5], object)).tolist() == [1.0, 2.5]
    assert scoring_targets((values(),), np.zeros((2, 8, 8, 1), np.uint8)).dtype == np.float32
    with pytest.raises(BadDataError, match="targets are no numbers"):
        scoring_targets((values(),), np.array(["cheap", "dear"], object))


def test_several_outputs_take_a_dict_or_a_tuple() -> None:
    outputs = (classes("low", "high", name="priority"), values(name="price"))
    expected = {"priority": [1, 0], "price": [3.0, 4.0]}
    for targets in (
        {"price": np.array([3, 4]), "priority": np.array([[1], [0]])},
        (["high", "low"], [[3], [4]]),
    ):
        found = scoring_targets(outputs, targets)
        assert {name: array.tolist() for name, array in found.items()} == expected
    code = Output(kind="none", name="code")
    assert scoring_targets((code, *outputs), ([1, 0], [3, 4])).keys() == {"priority", "price"}
    assert scoring_targets((code,), None) is None
    for wrong, message in (
        ({"prio": [1, 0], "price": [3, 4]}, "targets have no 'priority': they have prio, price"),
        (([1],), "there are 1 arrays of targets for 2 outputs"),
        (np.array([1, 0]), "targets are one array, and the model has 2 outputs: priority, price"),
        (None, "there are no targets, and the model's output priority is to be scored"),
    ):
        with pytest.raises(BadDataError, match=message):
            scoring_targets(outputs, wrong)


def test_one_output_takes_a_dict_or_a_tuple_of_one() -> None:
    assert scoring_targets((values(),), {"dense_2": np.array([1.0])}).tolist() == [1.0]
    assert scoring_targets((values(),), (np.array([1.0]),)).tolist() == [1.0]


def test_rows_and_missing_values_are_checked() -> None:
    check_targets((values(),), np.array([1.0, 2.0]), rows=2)
    with pytest.raises(BadDataError, match="there are 2 validation targets for 3 rows of inputs"):
        check_targets((values(),), np.array([1.0, 2.0]), rows=3, what="validation targets")
    with pytest.raises(BadDataError, match="targets: 2 are missing or infinite, the first in row 1"):
        check_targets((values(),), np.array([[1.0, 1.0], [np.nan, np.inf]]), rows=2)
    check_targets(
        (Output(kind="classes"),), np.array([5, 7]), rows=2
    )  # the model says how many classes there are
    with pytest.raises(BadDataError, match="targets of price: 1 are missing or infinite"):
        check_targets(
            (values(name="price"), classes(*AB, name="kind")), {"price": [np.nan], "kind": ["a"]}, rows=1
        )
