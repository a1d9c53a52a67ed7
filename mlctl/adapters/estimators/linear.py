"""Ridge and logistic regression by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from mlctl.adapters.estimators.encoded_table import EncodedTable
from mlctl.adapters.estimators.fitted import FittedEstimator, OnRound
from mlctl.adapters.estimators.spec import ModelSpec
from mlctl.adapters.estimators.targets import class_transform, standardize_targets
from mlctl.adapters.models import onnx_graphs

MAX_NEWTON_WEIGHTS = 600  # with more, Newton's method takes longer than a few hundred steps of L-BFGS
MAX_ITERATIONS = 300

Array = np.ndarray[Any, Any]


def fit_linear(
    spec: ModelSpec, table: EncodedTable, *, deadline: float, on_round: OnRound, rounds: int = 0
) -> FittedEstimator:
    """Fit a linear model with L2 penalty `strength`. It has no rounds, and no deadline ends it.

    With the parameter `bent`, it takes how far numbers fill bins, so that it bends at each edge.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    features = table.features
    places = features.bent if spec.params.get("bent") and features.bent else features.linear
    strength = float(spec.params["strength"])
    columns = table.train if table.is_sparse else table.train[:, list(places)]
    targets: Array = table.data.train.targets
    if table.classes:
        transform = class_transform(table)
        is_small = columns.shape[1] * table.outputs <= MAX_NEWTON_WEIGHTS
        solver = "newton-cholesky" if is_small else "lbfgs"
        model: Any = LogisticRegression(C=1 / strength, max_iter=MAX_ITERATIONS, tol=1e-3, solver=solver)
        with threadpool_limits(1):
            model.fit(columns, targets, table.train_weights)
    else:
        transform, targets = standardize_targets(spec, targets)
        model = Ridge(alpha=strength).fit(columns, targets, table.train_weights)
    weights = np.atleast_2d(model.coef_).T
    bias = np.atleast_1d(model.intercept_)

    def export() -> bytes:
        columns_of_graph = range(features.width) if table.is_sparse else places
        return onnx_graphs.from_linear(weights, bias, features.width, columns_of_graph, transform)

    def predict(rows: Array) -> Array:
        return transform(np.asarray((rows if table.is_sparse else rows[:, list(places)]) @ weights) + bias)

    return FittedEstimator(predict, export, 1)
