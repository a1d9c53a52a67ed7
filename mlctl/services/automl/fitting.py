"""Fitting one model of any family: on the training rows with validation, or again on both, as it was.

Of a small table each model answers all rows of training and validation in folds, each fold by a model that has not
seen it, and is then fitted to all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import lightgbm
import numpy as np

from mlctl.adapters.models import onnx_graphs, tree_ensembles
from mlctl.adapters.models.onnx_graphs import Link
from mlctl.services.automl.models import FOREST, HISTOGRAM, L2, LIGHTGBM, LINEAR, LOG, Spec
from mlctl.services.automl.table import Table

MORE_DATA = 1.1  # more rows carry a little more rounds
MORE_ROWS = 1.25  # a fit to training and validation rows takes so much longer
TREES_AT_ONCE, TREES_LEAST = 10, 10
LEAVES = 6000  # a tree's at most, about: a forest of whole trees on many rows is too heavy to serve

Array = np.ndarray[Any, Any]
Tick = Callable[[int, float | None], None]


class OutOfTime(Exception):
    """A model was stopped before it could answer all that it is judged by."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model: how it answers the validation rows, (n, k), its graph, and its rounds of trees or epochs."""

    spec: Spec
    answers: Array
    graph: bytes
    rounds: int
    seconds: float


def fit(spec: Spec, table: Table, until: float, tick: Tick, rounds: int = 0) -> Fitted:
    """Fit a model, stopping early by the validation rows and at `until` (monotonic seconds).

    With `rounds` it is fitted for so many and nothing stops it early: the table then has no validation rows.
    Raises whatever its library does, and ChildFailedError where its graph answers otherwise.
    """
    from mlctl.services.automl import network

    started = time.perf_counter()
    by_family = {LIGHTGBM: _lightgbm, FOREST: _forest, HISTOGRAM: _histogram, LINEAR: _linear}
    make = by_family.get(spec.family, network.fit)
    crossed = None
    if table.folds and not rounds:
        crossed, rounds = _crossed(make, spec, table, until, tick)
        table = table.whole
    answer, graph, found = make(spec, table, until, tick, rounds)
    rows = table.validation if len(table.validation) else table.train[: onnx_graphs.CHECKED_ROWS]
    answers = np.asarray(answer(rows), np.float64).reshape(len(rows), -1)
    made = graph()
    onnx_graphs.check(made, rows, answers, table.spread)
    return Fitted(spec, answers if crossed is None else crossed, made, found, time.perf_counter() - started)


def _crossed(make: Any, spec: Spec, table: Table, until: float, tick: Tick) -> tuple[Array, int]:
    """Return what all rows are answered, each by a model that has not seen it, and the usual number of rounds."""
    answers = np.zeros((len(table.judged), table.outputs))
    rounds: list[int] = []
    for hand, part in table.dealt():
        if rounds and time.monotonic() > until:
            raise OutOfTime("there was no time for all of its folds")
        answer, _, found = make(spec, part, until, tick, 0)
        answers[hand] = np.asarray(answer(part.validation)).reshape(len(hand), -1)
        rounds.append(found)
    return answers, max(1, round(float(np.median(rounds))))


Answer = Callable[[Array], Array]
Made = tuple[Answer, Callable[[], bytes], int]


def _link(spec: Spec, targets: Array) -> tuple[Link, Array]:
    """Return how a regression's standardized targets become answers, and those targets."""
    values = np.log(targets) if spec.loss == LOG else targets
    mean, scale = float(values.mean()), float(values.std()) or 1.0
    return Link("identity", scale, mean, spec.loss == LOG), (values - mean) / scale


def _class_link(table: Table) -> Link:
    return Link("sigmoid" if table.classes == 2 else "softmax")


def _lightgbm(spec: Spec, table: Table, until: float, tick: Tick, rounds: int) -> Made:
    params = dict(spec.params)
    most, patience = int(params.pop("rounds")), int(params.pop("patience"))
    told = {**params, "verbosity": -1, "seed": table.seed, "deterministic": True, "force_row_wise": True}
    targets: Array = table.data.train.targets
    wanted: Array = table.data.validation.targets
    if table.classes:
        link = _class_link(table)
        told |= {"objective": "binary" if table.classes == 2 else "multiclass"}
        told |= {"num_class": table.classes} if table.classes > 2 else {}
    else:
        link, targets = _link(spec, targets)
        wanted = ((np.log(wanted) if spec.loss == LOG else wanted) - link.mean) / link.scale
        told["objective"] = "regression" if spec.loss == L2 else "regression_l1"
        told["metric"] = "l1" if table.objective.metric == "val_mae" else "l2"
    train = lightgbm.Dataset(table.columns(table.train), targets, free_raw_data=False)
    if rounds:
        booster, best = lightgbm.train(told, train, rounds), rounds
    else:
        watch = _Watch(patience, until, tick)
        valid = lightgbm.Dataset(table.columns(table.validation), wanted, reference=train)
        booster = lightgbm.train(told, train, most, valid_sets=[valid], callbacks=[watch])
        best = watch.best + 1

    def graph() -> bytes:
        grown = tree_ensembles.of_lightgbm(booster, best, table.outputs)
        return onnx_graphs.of_trees(grown, table.features.width, table.features.trees, link)

    def answer(rows: Array) -> Array:
        raw = booster.predict(table.columns(rows), num_iteration=best, raw_score=True)
        return link(np.asarray(raw).reshape(len(rows), -1))

    return answer, graph, best


class _Watch:
    """LightGBM's callback: stops when nothing has got better for long, or time is up; keeps the best round."""

    before_iteration, order = False, 30

    def __init__(self, patience: int, until: float, tick: Tick) -> None:
        self.patience, self.until, self.tick = patience, until, tick
        self.best, self.value = 0, float("inf")

    def __call__(self, env: Any) -> None:
        value = float(env.evaluation_result_list[0][2])
        if value < self.value:
            self.best, self.value = env.iteration, value
        if env.iteration % 50 == 0:
            self.tick(env.iteration, None)
        if env.iteration - self.best >= self.patience or time.monotonic() > self.until:
            raise lightgbm.callback.EarlyStopException(self.best, env.evaluation_result_list)


def _forest(spec: Spec, table: Table, until: float, tick: Tick, rounds: int) -> Made:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    targets: Array = table.data.train.targets
    params = {**spec.params, "random_state": table.seed, "n_jobs": -1, "warm_start": True}
    params["min_samples_leaf"] = max(int(params["min_samples_leaf"]), len(targets) // LEAVES)
    most = rounds or int(params.pop("n_estimators"))
    params.pop("n_estimators", None)
    if table.classes:
        link, model = Link(), ExtraTreesClassifier(**params)
    else:
        link, targets = _link(spec, targets)
        model = ExtraTreesRegressor(**params)
    rows, grown = table.columns(table.train), 0
    while grown < most and (grown < TREES_LEAST or rounds or time.monotonic() < until):
        grown = min(most, grown + TREES_AT_ONCE)
        model.set_params(n_estimators=grown).fit(rows, targets)
        tick(grown, None)

    def graph() -> bytes:
        ensemble = tree_ensembles.of_forest(model)
        if table.classes == 2:  # the second class's share says all
            second = [replace(one, values=one.values[:, 1:]) for one in ensemble.trees]
            ensemble = tree_ensembles.Ensemble(second, (0.0,))
        return onnx_graphs.of_trees(ensemble, table.features.width, table.features.trees, link)

    def answer(rows: Array) -> Array:
        few = table.columns(rows)
        if table.classes:
            return np.asarray(model.predict_proba(few))[:, 1 if table.classes == 2 else 0 :]
        return link(model.predict(few)[:, None])

    return answer, graph, grown


def _histogram(spec: Spec, table: Table, until: float, tick: Tick, rounds: int) -> Made:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    params: dict[str, Any] = {**spec.params, "random_state": table.seed}
    params |= (
        {"max_iter": rounds, "early_stopping": False}
        if rounds
        else {"early_stopping": True, "n_iter_no_change": 20}
    )
    kind: Any = HistGradientBoostingClassifier if table.classes else HistGradientBoostingRegressor

    class Timed(kind):  # type: ignore[misc] # scikit-learn has no types, and takes no callback
        def _should_stop(self, scores: Any) -> bool:
            late = len(scores) > TREES_LEAST and time.monotonic() > until
            return late or bool(super()._should_stop(scores))

    model = Timed(**params)
    targets: Array = table.data.train.targets
    wanted: Array = table.data.validation.targets
    link = _class_link(table)
    if not table.classes:
        link, targets = _link(spec, targets)
        wanted = (wanted - link.mean) / link.scale
    told = {} if rounds else {"X_val": table.columns(table.validation), "y_val": wanted}
    model.fit(table.columns(table.train), targets, **told)
    tick(int(model.n_iter_), None)

    def graph() -> bytes:
        return onnx_graphs.of_trees(
            tree_ensembles.of_histogram(model), table.features.width, table.features.trees, link
        )

    def answer(rows: Array) -> Array:
        few = table.columns(rows)
        raw = model.decision_function(few) if table.classes else model.predict(few)
        return link(np.asarray(raw).reshape(len(rows), -1))

    return answer, graph, int(model.n_iter_)


def _linear(spec: Spec, table: Table, until: float, tick: Tick, rounds: int) -> Made:
    from sklearn.linear_model import LogisticRegression, Ridge

    rows, strength = table.columns(table.train), float(spec.params["strength"])
    targets: Array = table.data.train.targets
    if table.classes:
        link = _class_link(table)
        model: Any = LogisticRegression(C=1 / strength, max_iter=500).fit(rows, targets)
    else:
        link, targets = _link(spec, targets)
        model = Ridge(alpha=strength).fit(rows, targets)
    weights = np.atleast_2d(model.coef_).T
    bias = np.atleast_1d(model.intercept_)

    def graph() -> bytes:
        return onnx_graphs.of_linear(weights, bias, table.features.width, table.features.trees, link)

    return lambda some: link(table.columns(some) @ weights + bias), graph, 1
