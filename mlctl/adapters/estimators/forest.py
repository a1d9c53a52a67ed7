"""Extremely randomized trees by scikit-learn."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from mlctl.adapters.estimators.encoded_table import EncodedTable
from mlctl.adapters.estimators.fitted import FittedEstimator, OnRound
from mlctl.adapters.estimators.spec import ModelSpec
from mlctl.adapters.estimators.targets import standardize_targets
from mlctl.adapters.models import onnx_graphs, tree_ensembles
from mlctl.adapters.models.onnx_graphs import OutputTransform

TREES_PER_STEP, MIN_TREES = 10, 10
MAX_LEAVES = 120_000  # of all trees, approximately: a larger forest is too large to serve

Array = np.ndarray[Any, Any]


def fit_forest(
    spec: ModelSpec, table: EncodedTable, *, deadline: float, on_round: OnRound, rounds: int = 0
) -> FittedEstimator:
    """Fit a forest until the deadline (monotonic seconds), or with exactly `rounds` trees."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    targets: Array = table.data.train.targets
    params = {**spec.params, "random_state": table.seed, "n_jobs": -1, "warm_start": True}
    default_trees = int(params.pop("n_estimators"))
    max_trees = rounds or default_trees
    rows_per_leaf = len(targets) * max_trees // MAX_LEAVES
    params["min_samples_leaf"] = max(int(params["min_samples_leaf"]), rows_per_leaf)
    if table.classes:
        transform, model = OutputTransform(), ExtraTreesClassifier(**params)
    else:
        transform, targets = standardize_targets(spec, targets)
        model = ExtraTreesRegressor(**params)
    columns, trees = table.select_columns(table.train), 0
    while trees < max_trees and (trees < MIN_TREES or rounds or time.monotonic() < deadline):
        trees = min(max_trees, trees + TREES_PER_STEP)
        model.set_params(n_estimators=trees).fit(columns, targets, table.train_weights)
        on_round(trees)

    def export() -> bytes:
        ensemble = tree_ensembles.from_forest(model)
        if table.classes == 2:  # the probability of the second class is enough
            second = [replace(tree, values=tree.values[:, 1:]) for tree in ensemble.trees]
            ensemble = tree_ensembles.TreeEnsemble(second, (0.0,))
        return onnx_graphs.from_trees(ensemble, table.features.width, table.features.trees, transform)

    def predict(rows: Array) -> Array:
        columns = table.select_columns(rows)
        if table.classes:
            return np.asarray(model.predict_proba(columns))[:, 1 if table.classes == 2 else 0 :]
        return transform(model.predict(columns)[:, None])

    return FittedEstimator(predict, export, trees)
