"""Tree ensembles of three libraries, linear models and blends as ONNX graphs predict what the libraries do."""

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
from mlctl.adapters.models.onnx_graphs import OutputTransform
from mlctl.errors import ChildFailedError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(400, 5)).astype(np.float32)
NUMBERS = 3.0 * ROWS[:, 0] * ROWS[:, 1] + ROWS[:, 2]
CLASSES = (ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 0.5)
# two more columns, which no model uses
WIDE_ROWS = np.concatenate((RNG.normal(size=(400, 2)).astype(np.float32), ROWS), axis=1)
COLUMNS = (2, 3, 4, 5, 6)


def tree_graph(ensemble: tree_ensembles.TreeEnsemble, transform: OutputTransform) -> bytes:
    return onnx_graphs.from_trees(ensemble, 7, COLUMNS, transform)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_lightgbm_graph_predicts_as_lightgbm(outputs: int) -> None:
    objective = {1: "regression_l1", 2: "binary", 3: "multiclass"}[outputs]
    targets = {1: NUMBERS, 2: CLASSES > 0, 3: CLASSES}[outputs]
    params = {"objective": objective, "verbosity": -1, "num_threads": 1} | (
        {"num_class": 3} if outputs == 3 else {}
    )
    model = lightgbm.train(params, lightgbm.Dataset(ROWS, targets), 30)
    transform = {1: OutputTransform(), 2: OutputTransform("sigmoid"), 3: OutputTransform("softmax")}[outputs]
    graph = tree_graph(tree_ensembles.from_lightgbm(model, 20, 3 if outputs == 3 else 1), transform)
    expected = np.asarray(model.predict(ROWS, num_iteration=20)).reshape(400, -1)
    assert np.abs(onnx_graphs.run_graph(graph, WIDE_ROWS) - expected).max() < 1e-5


def test_lightgbm_without_any_split() -> None:
    params = {"verbosity": -1, "min_data_in_leaf": 300, "num_threads": 1}
    model = lightgbm.train(params, lightgbm.Dataset(ROWS, NUMBERS), 2)
    graph = tree_graph(tree_ensembles.from_lightgbm(model, 2, 1), OutputTransform())
    predictions = onnx_graphs.run_graph(graph, WIDE_ROWS)
    assert np.abs(predictions[:, 0] - model.predict(ROWS)).max() < 1e-5


def test_threshold_between_neighbouring_float32_values_separates_them() -> None:
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2))
    rows = np.repeat([low, high], 50)[:, None].astype(np.float32)
    targets = np.repeat([0.0, 1.0], 50)
    params = {"verbosity": -1, "min_data_in_leaf": 5, "num_threads": 1}
    # as float64, the values are far enough apart for LightGBM's bins
    model = lightgbm.train(params, lightgbm.Dataset(rows.astype(np.float64), targets), 5)
    graph = onnx_graphs.from_trees(tree_ensembles.from_lightgbm(model, 5, 1), 1, (0,), OutputTransform())
    assert np.abs(onnx_graphs.run_graph(graph, rows)[:, 0] - model.predict(rows)).max() < 1e-6


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_scikit_learn_graphs_predict_as_scikit_learn(classes: int) -> None:
    targets = NUMBERS if not classes else CLASSES if classes == 3 else np.minimum(CLASSES, 1)
    boosting_class, forest_class = (
        (HistGradientBoostingClassifier, ExtraTreesClassifier)
        if classes
        else (HistGradientBoostingRegressor, ExtraTreesRegressor)
    )
    boosting = boosting_class(max_iter=10).fit(ROWS, targets)
    transform = OutputTransform({0: "identity", 2: "sigmoid", 3: "softmax"}[classes])
    graph = tree_graph(tree_ensembles.from_histogram_boosting(boosting), transform)
    predictions = onnx_graphs.run_graph(graph, WIDE_ROWS)
    expected = boosting.predict_proba(ROWS) if classes else boosting.predict(ROWS)[:, None]
    assert np.abs(predictions - (expected[:, 1:] if classes == 2 else expected)).max() < 1e-5
    forest = forest_class(10, random_state=0).fit(ROWS, targets)
    graph = tree_graph(tree_ensembles.from_forest(forest), OutputTransform())
    predictions = onnx_graphs.run_graph(graph, WIDE_ROWS)
    expected = forest.predict_proba(ROWS) if classes else forest.predict(ROWS)[:, None]
    assert np.abs(predictions - expected).max() < 1e-5


def test_blend_is_the_weighted_sum_of_its_parts() -> None:
    linear = LogisticRegression().fit(ROWS, CLASSES)
    linear_graph = onnx_graphs.from_linear(
        linear.coef_.T, linear.intercept_, 7, COLUMNS, OutputTransform("softmax")
    )
    forest = ExtraTreesClassifier(5, random_state=0).fit(ROWS, CLASSES)
    forest_graph = tree_graph(tree_ensembles.from_forest(forest), OutputTransform())
    blend = onnx_graphs.blend_graphs([(0.25, linear_graph), (0.75, forest_graph)])
    expected = 0.25 * linear.predict_proba(ROWS) + 0.75 * forest.predict_proba(ROWS)
    assert np.abs(onnx_graphs.run_graph(blend, WIDE_ROWS) - expected).max() < 1e-5
    blend_of_blend = onnx_graphs.blend_graphs([(1.0, blend)])  # a blend has the same form as its parts
    assert np.abs(onnx_graphs.run_graph(blend_of_blend, WIDE_ROWS) - expected).max() < 1e-5


def test_scaled_logarithm_is_transformed_back() -> None:
    transform = OutputTransform(scale=2.0, mean=1.0, exp=True)
    graph = onnx_graphs.from_linear(np.eye(5)[:, :1], np.zeros(1), 7, COLUMNS, transform)
    predictions = onnx_graphs.run_graph(graph, WIDE_ROWS)
    assert np.allclose(predictions[:, 0], np.exp(2 * ROWS[:, 0] + 1), rtol=1e-5)
    with pytest.raises(ChildFailedError, match="predictions differ"):
        onnx_graphs.check_graph(graph, WIDE_ROWS, np.ones((400, 1)), 1.0)


def test_offset_beyond_float32_is_added_in_float64() -> None:
    weights, bias = np.eye(5)[:, :1], np.zeros(1)
    graph = onnx_graphs.from_linear(weights, bias, 7, COLUMNS, OutputTransform())
    predictions = onnx_graphs.run_graph(onnx_graphs.blend_graphs([(1.0, graph)], 1.7e9), WIDE_ROWS)
    assert predictions.dtype == np.float64
    assert np.abs(predictions[:, 0] - 1.7e9 - ROWS[:, 0]).max() < 1e-5
    float32_graph = onnx_graphs.from_linear(weights, bias, 7, COLUMNS, OutputTransform(mean=1.7e9))
    with pytest.raises(ChildFailedError, match="predictions differ"):
        onnx_graphs.check_graph(float32_graph, WIDE_ROWS, 1.7e9 + ROWS[:, :1].astype(np.float64), 1.0)
