"""Weights of classes: given by number or name, or balanced as scikit-learn does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlctl.data.class_weights import class_weights
from mlctl.data.dataset import Dataset, Split
from mlctl.errors import BadDataError

pytestmark = pytest.mark.unit

LABELS = np.array([0] * 6 + [1] * 2)


def dataset(targets: Any = LABELS, classes: tuple[str, ...] = ("fine", "fraud")) -> Dataset:
    return Dataset("d", Split(np.zeros((8, 2)), targets), classes=classes)


@pytest.mark.parametrize("given", [None, "", "none", False])
def test_without_weights_all_classes_count_equally(given: Any) -> None:
    assert class_weights(given, dataset()) is None


@pytest.mark.parametrize(
    "targets", [LABELS, LABELS[:, None], np.eye(2)[LABELS], np.array(["fine"] * 6 + ["fraud"] * 2, object)]
)
def test_balanced_weights_are_those_of_scikit_learn(targets: Any) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=LABELS)
    weights = class_weights("balanced", dataset(targets))
    assert weights == pytest.approx(dict(enumerate(expected)))


@pytest.mark.parametrize("given", [{"fraud": 3}, {1: 3.0}, {np.int64(1): 3.0}, [1, 3], (1.0, 3.0)])
def test_weights_are_given_by_number_or_name(given: Any) -> None:
    assert class_weights(given, dataset()) == {0: 1.0, 1: 3.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("balancd", "no weight of 2 classes"),
        ({"theft": 2}, "'theft', which is no class"),
        ({2: 2.0}, "2, which is no class"),
        ({1: -1.0}, "is -1.0"),
        ({1: "much"}, "is 'much'"),
        ([1, 2, 3], "no weight of 2 classes"),
    ],
)
def test_other_weights_are_refused(given: Any, message: str) -> None:
    with pytest.raises(BadDataError, match=message):
        class_weights(given, dataset())


def test_a_regression_has_no_classes_to_weight() -> None:
    with pytest.raises(BadDataError, match="needs classes"):
        class_weights("balanced", dataset(np.zeros(8), ()))
