"""Trees of three libraries, a line and a blend of them as ONNX: each answers as its library does."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression

from mlctl.adapters.models import onnx_graphs, tree_ensembles
from mlctl.adapters.models.onnx_graphs import Link
from mlctl.errors import ChildFailedError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(400, 5)).astype(np.float32)
NUMBERS = 3.0 * ROWS[:, 0] * ROWS[:, 1] + ROWS[:, 2]
CLASSES = (ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 0.5)
WIDE = np.concatenate((RNG.normal(size=(400, 2)).astype(np.float32), ROWS), axis=1)  # two that none looks at
COLUMNS = (2, 3, 4, 5, 6)


def of(ensemble: tree_ensembles.Ensemble, link: Link) -> bytes:
    return onnx_graphs.of_trees(ensemble, 7, COLUMNS, link)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_lightgbm(outputs: int) -> None:
    objective = {1: "regression_l1", 2: "binary", 3: "multiclass"}[outputs]
    targets = {1: NUMBERS, 2: CLASSES > 0, 3: CLASSES}[outputs]
    told = {"objective": objective, "verbosity": -1, "num_threads": 1} | (
        {"num_class": 3} if outputs == 3 else {}
    )
    model = lightgbm.train(told, lightgbm.Dataset(ROWS, targets), 30)
    link = {1: Link(), 2: Link("sigmoid"), 3: Link("softmax")}[outputs]
    graph = of(tree_ensembles.of_lightgbm(model, 20, 3 if outputs == 3 else 1), link)
    wanted = np.asarray(model.predict(ROWS, num_iteration=20)).reshape(400, -1)
    assert np.abs(onnx_graphs.answers(graph, WIDE) - wanted).max() < 1e-5


def test_lightgbm_that_found_nothing_to_split() -> None:
    model = lightgbm.train(
        {"verbosity": -1, "min_data_in_leaf": 300, "num_threads": 1}, lightgbm.Dataset(ROWS, NUMBERS), 2
    )
    found = onnx_graphs.answers(of(tree_ensembles.of_lightgbm(model, 2, 1), Link()), WIDE)
    assert np.abs(found[:, 0] - model.predict(ROWS)).max() < 1e-5


def test_a_threshold_between_two_neighbouring_float32_divides_them() -> None:
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2))
    rows = np.repeat([low, high], 50)[:, None].astype(np.float32)
    # as float64 they are further apart than LightGBM's bins need
    model = lightgbm.train(
        {"verbosity": -1, "min_data_in_leaf": 5, "num_threads": 1}, lightgbm.Dataset(rows.astype(np.float64), np.repeat([0.0, 1.0], 50)), 5
    )  # fmt: skip
    graph = onnx_graphs.of_trees(tree_ensembles.of_lightgbm(model, 5, 1), 1, (0,), Link())
    assert np.abs(onnx_graphs.answers(graph, rows)[:, 0] - model.predict(rows)).max() < 1e-6


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_scikit_learns_boosting_and_forests(classes: int) -> None:
    targets = NUMBERS if not classes else CLASSES if classes == 3 else np.minimum(CLASSES, 1)
    kinds = (
        (HistGradientBoostingClassifier, ExtraTreesClassifier)
        if classes
        else (HistGradientBoostingRegressor, ExtraTreesRegressor)
    )
    boosted = kinds[0](max_iter=10).fit(ROWS, targets)
    link = Link({0: "identity", 2: "sigmoid", 3: "softmax"}[classes])
    found = onnx_graphs.answers(of(tree_ensembles.of_histogram(boosted), link), WIDE)
    wanted = boosted.predict_proba(ROWS) if classes else boosted.predict(ROWS)[:, None]
    assert np.abs(found - (wanted[:, 1:] if classes == 2 else wanted)).max() < 1e-5
    forest = kinds[1](10, random_state=0).fit(ROWS, targets)
    found = onnx_graphs.answers(of(tree_ensembles.of_forest(forest), Link()), WIDE)
    wanted = forest.predict_proba(ROWS) if classes else forest.predict(ROWS)[:, None]
    assert np.abs(found - wanted).max() < 1e-5


def test_a_blend_is_the_weighted_sum_of_its_parts() -> None:
    line = LogisticRegression().fit(ROWS, CLASSES)
    straight = onnx_graphs.of_linear(line.coef_.T, line.intercept_, 7, COLUMNS, Link("softmax"))
    forest = ExtraTreesClassifier(5, random_state=0).fit(ROWS, CLASSES)
    grown = of(tree_ensembles.of_forest(forest), Link())
    both = onnx_graphs.blended([(0.25, straight), (0.75, grown)])
    wanted = 0.25 * line.predict_proba(ROWS) + 0.75 * forest.predict_proba(ROWS)
    assert np.abs(onnx_graphs.answers(both, WIDE) - wanted).max() < 1e-5
    again = onnx_graphs.blended([(1.0, both)])  # of the same form as its parts
    assert np.abs(onnx_graphs.answers(again, WIDE) - wanted).max() < 1e-5


def test_a_scaled_logarithm_comes_back_as_what_it_was() -> None:
    graph = onnx_graphs.of_linear(np.eye(5)[:, :1], np.zeros(1), 7, COLUMNS, Link("identity", 2.0, 1.0, True))
    assert np.allclose(onnx_graphs.answers(graph, WIDE)[:, 0], np.exp(2 * ROWS[:, 0] + 1), rtol=1e-5)
    with pytest.raises(ChildFailedError, match="answers otherwise"):
        onnx_graphs.check(graph, WIDE, np.ones((400, 1)), 1.0)


def test_an_offset_that_float32_cannot_hold_is_added_in_float64() -> None:
    straight = onnx_graphs.of_linear(np.eye(5)[:, :1], np.zeros(1), 7, COLUMNS, Link())
    far = onnx_graphs.answers(onnx_graphs.blended([(1.0, straight)], 1.7e9), WIDE)
    assert far.dtype == np.float64
    assert np.abs(far[:, 0] - 1.7e9 - ROWS[:, 0]).max() < 1e-5
    lost = onnx_graphs.of_linear(np.eye(5)[:, :1], np.zeros(1), 7, COLUMNS, Link("identity", 1.0, 1.7e9))
    with pytest.raises(ChildFailedError, match="answers otherwise"):
        onnx_graphs.check(lost, WIDE, 1.7e9 + ROWS[:, :1].astype(np.float64), 1.0)
