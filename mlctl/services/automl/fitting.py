"""Fitting one model of any family, and scoring it on rows that it was not fitted to.

On a small table, each model is cross-validated on all rows, and then fitted to all of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mlctl.adapters.estimators.boosting import fit_histogram, fit_lightgbm
from mlctl.adapters.estimators.encoded_table import EncodedTable
from mlctl.adapters.estimators.fitted import FittedEstimator, OnRound
from mlctl.adapters.estimators.forest import fit_forest
from mlctl.adapters.estimators.linear import fit_linear
from mlctl.adapters.estimators.network import fit_network
from mlctl.adapters.estimators.spec import FOREST, HISTOGRAM, LIGHTGBM, LINEAR, NETWORK, ModelSpec
from mlctl.adapters.models import onnx_graphs

REFIT_ROUNDS_FACTOR = 1.1  # a fit to more rows takes a few more rounds
REFIT_TIME_FACTOR = 1.25  # a fit to training and validation rows takes longer than one to training rows

Array = np.ndarray[Any, Any]


class OutOfTime(Exception):
    """A model was stopped before all folds were fitted."""


class _FitFunction(Protocol):
    def __call__(
        self, spec: ModelSpec, table: EncodedTable, *, deadline: float, on_round: OnRound, rounds: int = 0
    ) -> FittedEstimator: ...


FIT_FUNCTIONS: Mapping[str, _FitFunction] = {
    LIGHTGBM: fit_lightgbm,
    FOREST: fit_forest,
    HISTOGRAM: fit_histogram,
    LINEAR: fit_linear,
    NETWORK: fit_network,
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
    """

    spec: ModelSpec
    predictions: Array
    graph: bytes
    rounds: int
    seconds: float


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
    held_out = None
    if table.folds and not rounds:
        held_out, rounds = _cross_validate(fit, spec, table, deadline, on_round)
        table = table.all_rows
    estimator = fit(spec, table, deadline=deadline, on_round=on_round, rounds=rounds)
    rows = table.validation if len(table.validation) else table.train[: onnx_graphs.MAX_CHECKED_ROWS]
    predictions = np.asarray(estimator.predict(rows), np.float64).reshape(len(rows), -1)
    graph = estimator.export()
    onnx_graphs.check_graph(graph, rows, predictions, table.target_deviation)
    return FittedModel(
        spec=spec,
        predictions=predictions if held_out is None else held_out,
        graph=graph,
        rounds=estimator.rounds,
        seconds=time.perf_counter() - started,
    )


def _cross_validate(
    fit: _FitFunction, spec: ModelSpec, table: EncodedTable, deadline: float, on_round: OnRound
) -> tuple[Array, int]:
    """Return held-out predictions (n, outputs) for all rows, and the median number of rounds of the folds."""
    predictions = np.zeros((len(table.scored_targets), table.outputs))
    rounds: list[int] = []
    for fold, part in table.split_folds():
        if rounds and time.monotonic() > deadline:
            raise OutOfTime("time was up before all folds were fitted")
        estimator = fit(spec, part, deadline=deadline, on_round=on_round)
        predictions[fold] = np.asarray(estimator.predict(part.validation)).reshape(len(fold), -1)
        rounds.append(estimator.rounds)
    return predictions, max(1, round(float(np.median(rounds))))
