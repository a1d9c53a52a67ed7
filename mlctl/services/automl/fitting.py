"""Fitting one model of any family, and scoring it on rows that it was not fitted to.

On a small table, each model is cross-validated on all rows; the mean of the folds' models, or one that is fitted to
all rows, is what the blend takes.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from mlctl.adapters.estimators.boosting import fit_histogram, fit_lightgbm
from mlctl.adapters.estimators.encoded_table import EncodedTable
from mlctl.adapters.estimators.fitted import FittedEstimator, OnRound
from mlctl.adapters.estimators.forest import fit_forest
from mlctl.adapters.estimators.linear import fit_linear
from mlctl.adapters.estimators.network_values import leaves_rows_out
from mlctl.adapters.estimators.spec import FOREST, HISTOGRAM, LIGHTGBM, LINEAR, NETWORK, ModelSpec
from mlctl.adapters.models import onnx_graphs
from mlctl.errors import ChildFailedError

REFIT_ROUNDS_FACTOR = 1.1  # a fit to more rows takes a few more rounds
SPARSE_CHECKED_ROWS = 64  # as a dense matrix, more rows of texts take much memory
MAX_BAG_NODES = 150_000  # of all trees of all folds; with more, one model on all rows is faster to serve
REFIT_TIME_FACTOR = 1.25  # a fit to training and validation rows takes longer than one to training rows

Array = np.ndarray[Any, Any]


class OutOfTime(Exception):
    """A model was stopped before all folds were fitted."""


class _FitFunction(Protocol):
    def __call__(
        self, spec: ModelSpec, table: EncodedTable, *, deadline: float, on_round: OnRound, rounds: int = 0
    ) -> FittedEstimator: ...


def _fit_network(
    spec: ModelSpec, table: EncodedTable, *, deadline: float, on_round: OnRound, rounds: int = 0
) -> FittedEstimator:
    from mlctl.adapters.estimators.network import fit_network  # Keras: the models before it need none

    return fit_network(spec, table, deadline=deadline, on_round=on_round, rounds=rounds)


FIT_FUNCTIONS: Mapping[str, _FitFunction] = {
    LIGHTGBM: fit_lightgbm,
    FOREST: fit_forest,
    HISTOGRAM: fit_histogram,
    LINEAR: fit_linear,
    NETWORK: _fit_network,
}


@dataclass(frozen=True, kw_only=True)
class FittedModel:
    """A fitted model.

    Attributes:
        spec: what was fitted.
        predictions: (n, outputs) for the rows that models are scored on.
        graph: the model as a serialized ONNX graph.
        rounds: number of trees or epochs.
        seconds: wall time of the fit.
        fitted_to_all: whether the graph was fitted to all training and validation rows.
    """

    spec: ModelSpec
    predictions: Array
    graph: bytes
    rounds: int
    seconds: float
    fitted_to_all: bool = False


def fit_model(
    spec: ModelSpec, table: EncodedTable, *, deadline: float, on_round: OnRound, rounds: int = 0
) -> FittedModel:
    """Fit a model, with early stopping on the validation rows and at `deadline` (monotonic seconds).

    With `rounds` > 0, exactly that many rounds are fitted, and nothing ends the fit early.

    Raises:
        OutOfTime: if time is up before all folds are fitted.
        ChildFailedError: if the exported graph and the fitted model predict different values.
        Exception: whatever the model's library raises.
    """
    started = time.perf_counter()
    fit = FIT_FUNCTIONS[spec.family]
    fits_all_rows = not rounds and spec.family == NETWORK and leaves_rows_out(spec, table)
    with warnings.catch_warnings():
        # such as that of a linear model that has not converged, which is good enough; the filters belong to all threads
        warnings.simplefilter("ignore")
        if fits_all_rows:
            predictions, graph, rounds = _fit_bags(fit, spec, table, deadline, on_round)
        elif table.folds and not rounds:
            predictions, graph, rounds = _fit_folds(fit, spec, table, deadline, on_round)
        else:
            predictions, graph, rounds = _fit_once(fit, spec, table, deadline, on_round, rounds)
    return FittedModel(
        spec=spec,
        predictions=predictions,
        graph=graph,
        rounds=rounds,
        seconds=time.perf_counter() - started,
        fitted_to_all=fits_all_rows or bool(table.folds),
    )


def _fit_bags(
    fit: _FitFunction, spec: ModelSpec, table: EncodedTable, deadline: float, on_round: OnRound
) -> tuple[Array, bytes, int]:
    """Return what `_fit_once` does, of a model that is fitted to all known rows and answers each of them unseen."""
    estimator = fit(spec, table, deadline=deadline, on_round=on_round)
    if estimator.held_out is None:
        raise ChildFailedError("the network left no rows out", f"leave {NETWORK} out of --families")
    graph = estimator.export()
    _check(graph, table, _predict(estimator, _rows_to_check(table)))
    held_out = np.asarray(estimator.held_out, np.float64)
    return held_out if table.folds else held_out[table.train.shape[0] :], graph, estimator.rounds


def _fit_once(
    fit: _FitFunction, spec: ModelSpec, table: EncodedTable, deadline: float, on_round: OnRound, rounds: int
) -> tuple[Array, bytes, int]:
    """Return predictions for the validation rows (n, outputs), the graph, and the number of rounds."""
    estimator = fit(spec, table, deadline=deadline, on_round=on_round, rounds=rounds)
    predictions = _predict(estimator, _rows_to_check(table))
    graph = estimator.export()
    _check(graph, table, predictions)
    return predictions, graph, estimator.rounds


def _fit_folds(
    fit: _FitFunction, spec: ModelSpec, table: EncodedTable, deadline: float, on_round: OnRound
) -> tuple[Array, bytes, int]:
    """Return held-out predictions for all rows (n, outputs), the graph, and the median number of rounds.

    The graph is the mean of the folds' models if they are small, and else one model that is fitted to all rows.
    """
    estimators = _cross_validate(fit, spec, table, deadline, on_round)
    predictions = np.zeros((len(table.scored_targets), table.outputs))
    for fold, _, held_out in estimators:
        predictions[fold] = held_out
    rounds = max(1, round(float(np.median([estimator.rounds for _, estimator, _ in estimators]))))
    nodes = table.outputs * sum(
        2 * spec.params.get("num_leaves", MAX_BAG_NODES) * e.rounds for _, e, _ in estimators
    )
    if spec.family != LIGHTGBM or nodes > MAX_BAG_NODES:
        _, graph, rounds = _fit_once(fit, spec, table.all_rows, deadline, on_round, rounds)
        return predictions, graph, rounds
    graph = onnx_graphs.blend_graphs(
        [(1 / len(estimators), estimator.export()) for _, estimator, _ in estimators]
    )
    rows = _rows_to_check(table)
    _check(graph, table, np.mean([_predict(estimator, rows) for _, estimator, _ in estimators], axis=0))
    return predictions, graph, rounds


def _cross_validate(
    fit: _FitFunction, spec: ModelSpec, table: EncodedTable, deadline: float, on_round: OnRound
) -> list[tuple[Array, FittedEstimator, Array]]:
    """Return, for each fold, its row numbers, the model that has not seen them, and its predictions for them.

    Families without threads of their own, or with too few rows to use them, fit several folds at the same time.
    """
    workers = (os.cpu_count() or 1) if spec.family in {LIGHTGBM, LINEAR} else 1
    cancelled = threading.Event()

    def report(rounds: int) -> None:
        if cancelled.is_set():
            raise OutOfTime("another fold ended the fit")
        if workers == 1:
            on_round(rounds)

    def fit_fold(number: int, fold: Array, part: EncodedTable) -> tuple[Array, FittedEstimator, Array]:
        now = time.monotonic()
        if cancelled.is_set() or (number and now > deadline):
            raise OutOfTime("time was up before all folds were fitted")
        # the folds after this one, and a fit to all rows, need time too
        rounds_left = -(-(table.folds - number) // workers) + 1
        part_deadline = now + max(0.0, deadline - now) / rounds_left
        estimator = fit(spec, part, deadline=part_deadline, on_round=report)
        return fold, estimator, _predict(estimator, part.validation)

    parts = [
        (number, fold, replace(part, threads=1 if workers > 1 else 0))
        for number, (fold, part) in enumerate(table.split_folds())
    ]
    if workers == 1:
        return [fit_fold(*part) for part in parts]
    with threadpool_limits(1), ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(fit_fold, *part) for part in parts]
        try:
            return [future.result() for future in futures]
        except BaseException:
            cancelled.set()
            raise


def _rows_to_check(table: EncodedTable) -> Any:
    return table.validation if table.validation.shape[0] else table.train[: onnx_graphs.MAX_CHECKED_ROWS]


def _check(graph: bytes, table: EncodedTable, predictions: Array) -> None:
    """Check that the graph predicts what the model predicts for the rows to check."""
    rows = _rows_to_check(table)
    if table.is_sparse:
        rows, predictions = rows[:SPARSE_CHECKED_ROWS].toarray(), predictions[:SPARSE_CHECKED_ROWS]
    onnx_graphs.check_graph(graph, rows, predictions, table.target_deviation)


def _predict(estimator: FittedEstimator, rows: Any) -> Array:
    return np.asarray(estimator.predict(rows), np.float64).reshape(rows.shape[0], -1)
