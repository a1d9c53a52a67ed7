"""Targets are put into a model's terms: classes and labels by name, outputs by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlctl.data.dataset import Dataset, Split
from mlctl.domain.outputs import Output, Outputs, classes, labels, pixels, values
from mlctl.errors import BadDataError
from mlctl.services.evaluation.model_targets import model_targets

pytestmark = pytest.mark.unit


def data_of(targets: Any, names: tuple[str, ...] = (), outputs: Outputs | None = None) -> Dataset:
    rows = len(next(iter(targets.values())) if isinstance(targets, dict) else targets)
    split = Split(np.zeros((rows, 2)), targets)
    return Dataset("made", split, split, classes=names, outputs=outputs)


def in_terms_of(outputs: Outputs, data: Dataset) -> Any:
    return model_targets("runs:/x", outputs, data, data.train.targets)[1]


def test_classes_have_the_numbers_of_the_model() -> None:
    data = data_of(np.array([[1], [2], [2]]), ("dog", "cat"))
    assert in_terms_of((classes("cat", "bird", "dog"),), data).tolist() == [2, 0, 0]
    masks = data_of(np.array([[[0, 1], [-1, 1]]]), outputs=(pixels("disc", "ground"),))
    assert in_terms_of((pixels("ground", "disc"),), masks).tolist() == [[[1, 0], [-1, 0]]]
    with pytest.raises(BadDataError, match="runs:/x does not know the class 'dog'"):
        in_terms_of((classes("cat", "bird"),), data)


def test_columns_of_labels_have_the_order_of_the_model() -> None:
    data = data_of([["red"], ["blue", "red"], []], outputs=(labels("red", "blue"),))
    assert in_terms_of((labels("blue", "red"),), data).tolist() == [[0, 1], [1, 1], [0, 0]]
    with pytest.raises(BadDataError, match="the data has no label 'green', which runs:/x predicts"):
        in_terms_of((labels("blue", "red", "green"),), data)


def test_outputs_are_matched_by_name() -> None:
    targets = {"kind": ["b", "a"], "price": np.array([[1.0], [2.0]])}
    data = data_of(targets, outputs=(classes("a", "b", name="kind"), values(name="price")))
    found = in_terms_of(
        (values(name="price"), classes("b", "a", name="kind"), Output(kind="none", name="code")),
        data_of(
            targets,
            outputs=(classes("a", "b", name="kind"), values(name="price"), Output(kind="none", name="code")),
        ),
    )
    assert found["kind"].tolist() == [0, 1]
    assert found["price"].tolist() == [1.0, 2.0]
    assert found["code"] is None
    with pytest.raises(BadDataError, match="runs:/x has the output 'sort', and made has kind, price"):
        in_terms_of((values(name="price"), classes("b", "a", name="sort")), data)


@pytest.mark.parametrize(
    ("output", "data", "message"),
    [
        (values(), data_of([0, 1], ("a", "b")), "predicts values, and made has classes"),
        (classes("a", "b"), data_of([0.5, 1.5]), "predicts classes, and made has values"),
        (
            labels("a", "b"),
            data_of([0, 1], outputs=(classes("a", "b"),)),
            "predicts labels, and made has classes",
        ),
    ],
)
def test_another_kind_of_targets_is_refused(output: Output, data: Dataset, message: str) -> None:
    with pytest.raises(BadDataError, match=message):
        in_terms_of((output,), data)
