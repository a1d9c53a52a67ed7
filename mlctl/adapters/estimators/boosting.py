"""Gradient-boosted trees: LightGBM, and scikit-learn's histogram gradient boosting."""

from __future__ import annotations

import time
from typing import Any

import lightgbm
import numpy as np

from mlctl.adapters.estimators.encoded_table import EncodedTable
from mlctl.adapters.estimators.fitted import FittedEstimator, OnRound
from mlctl.adapters.estimators.spec import L2, LOG, ModelSpec
from mlctl.adapters.estimators.targets import class_transform, standardize_targets
from mlctl.adapters.models import onnx_graphs, tree_ensembles

MIN_ROUNDS = 10
REPORT_EVERY = 50  # rounds

Array = np.ndarray[Any, Any]


def fit_lightgbm(
    spec: ModelSpec, table: EncodedTable, *, deadline: float, on_round: OnRound, rounds: int = 0
) -> FittedEstimator:
    """Fit LightGBM with early stopping on the validation rows, or for exactly `rounds` rounds.

    `deadline` (monotonic seconds) ends a fit with early stopping.
    """
    params = dict(spec.params)
    max_rounds, patience = int(params.pop("rounds")), int(params.pop("patience"))
    options = {**params, "verbosity": -1, "seed": table.seed, "deterministic": True, "force_row_wise": True}
    options["num_threads"] = table.threads
    targets: Array = table.data.train.targets
    validation_targets: Array = table.data.validation.targets
    if table.classes:
        transform = class_transform(table)
        options |= {"objective": "binary" if table.classes == 2 else "multiclass"}
        options |= {"num_class": table.classes} if table.classes > 2 else {}
    else:
        transform, targets = standardize_targets(spec, targets)
        values = np.log(validation_targets) if spec.loss == LOG else validation_targets
        validation_targets = (values - transform.mean) / transform.scale
        options["objective"] = "regression" if spec.loss == L2 else "regression_l1"
        stops_by_l2 = spec.loss == L2 and table.objective.metric != "val_mae"
        options["metric"] = "l2" if stops_by_l2 else "l1"
    train = lightgbm.Dataset(
        table.select_columns(table.train), targets, weight=table.train_weights, free_raw_data=False
    )
    if rounds:
        booster, best = lightgbm.train(options, train, rounds), rounds
    else:
        stopping = _EarlyStopping(patience, deadline, on_round)
        validation = lightgbm.Dataset(
            table.select_columns(table.validation),
            validation_targets,
            weight=table.validation_weights,
            reference=train,
        )
        booster = lightgbm.train(options, train, max_rounds, valid_sets=[validation], callbacks=[stopping])
        best = stopping.best_round + 1

    def export() -> bytes:
        ensemble = tree_ensembles.from_lightgbm(booster, best, table.outputs)
        return onnx_graphs.from_trees(ensemble, table.features.width, table.features.trees, transform)

    def predict(rows: Array) -> Array:
        raw = booster.predict(table.select_columns(rows), num_iteration=best, raw_score=True)
        return transform(np.asarray(raw).reshape(len(rows), -1))

    return FittedEstimator(predict, export, best)


class _EarlyStopping:
    """LightGBM callback that stops after `patience` rounds without a better value, or at the deadline."""

    before_iteration, order = False, 30  # LightGBM reads both

    def __init__(self, patience: int, deadline: float, on_round: OnRound) -> None:
        self._patience, self._deadline, self._on_round = patience, deadline, on_round
        self.best_round, self._best_value = 0, float("inf")

    def __call__(self, env: Any) -> None:
        value = float(env.evaluation_result_list[0][2])
        if value < self._best_value:
            self.best_round, self._best_value = env.iteration, value
        if env.iteration % REPORT_EVERY == 0:
            self._on_round(env.iteration)
        if env.iteration - self.best_round >= self._patience or time.monotonic() > self._deadline:
            raise lightgbm.callback.EarlyStopException(self.best_round, env.evaluation_result_list)


def fit_histogram(
    spec: ModelSpec, table: EncodedTable, *, deadline: float, on_round: OnRound, rounds: int = 0
) -> FittedEstimator:
    """Fit histogram gradient boosting with early stopping, or for exactly `rounds` rounds.

    At least `MIN_ROUNDS` rounds are fitted, even after the deadline (monotonic seconds).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    params: dict[str, Any] = {**spec.params, "random_state": table.seed}
    if rounds:
        params |= {"max_iter": rounds, "early_stopping": False}
    else:
        params |= {"early_stopping": True, "n_iter_no_change": 20}
    base: Any = HistGradientBoostingClassifier if table.classes else HistGradientBoostingRegressor

    class TimedBoosting(base):  # type: ignore[misc] # scikit-learn has no types, and takes no callback
        def _should_stop(self, scores: Any) -> bool:
            late = len(scores) > MIN_ROUNDS and time.monotonic() > deadline
            return late or bool(super()._should_stop(scores))

    model = TimedBoosting(**params)
    targets: Array = table.data.train.targets
    validation_targets: Array = table.data.validation.targets
    transform = class_transform(table)
    if not table.classes:
        transform, targets = standardize_targets(spec, targets)
        validation_targets = (validation_targets - transform.mean) / transform.scale
    validation = {}
    if not rounds:
        validation = {
            "X_val": table.select_columns(table.validation),
            "y_val": validation_targets,
            "sample_weight_val": table.validation_weights,
        }
    model.fit(table.select_columns(table.train), targets, table.train_weights, **validation)
    on_round(int(model.n_iter_))

    def export() -> bytes:
        ensemble = tree_ensembles.from_histogram_boosting(model)
        return onnx_graphs.from_trees(ensemble, table.features.width, table.features.trees, transform)

    def predict(rows: Array) -> Array:
        columns = table.select_columns(rows)
        raw = model.decision_function(columns) if table.classes else model.predict(columns)
        return transform(np.asarray(raw).reshape(len(rows), -1))

    return FittedEstimator(predict, export, int(model.n_iter_))
