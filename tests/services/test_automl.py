"""The parts of automl: overrides, features, metrics, weights, time budget, interrupts, fitting."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from mlctl.adapters.estimators import category_targets
from mlctl.adapters.estimators.encoded_table import EncodedTable, center_targets
from mlctl.adapters.estimators.spec import FOREST, HISTOGRAM, LIGHTGBM, LINEAR, NETWORK, ModelSpec
from mlctl.adapters.keras import runtime
from mlctl.adapters.models import onnx_graphs
from mlctl.data.dataset import Dataset, Split
from mlctl.data.sparse_bags import SparseBags
from mlctl.domain.automl import NORMALIZED_RMSE, LeaderboardEntry
from mlctl.domain.objective import Objective
from mlctl.domain.progress import NullProgress
from mlctl.errors import BadDataError, UsageError
from mlctl.recipes import encoders, find, resolve
from mlctl.services.automl import blend, candidates, features, fitting, metrics, text_tables
from mlctl.services.automl.interrupts import InterruptGuard
from mlctl.services.automl.leaderboard import Leaderboard
from mlctl.services.automl.request import AutomlRequest
from mlctl.services.automl.time_budget import TimeBudget
from mlctl.services.recipes import prepare
from mlctl.settings import load
from tests.recording_listener import RecordingListener


def make_data(rows: int = 600) -> Dataset:
    """Return a table whose target is the logarithm of a ratio, with three dense regions of coordinates."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "rooms": rng.lognormal(3, 0.5, rows),
            "people": rng.lognormal(1, 0.5, rows),
            "latitude": rng.choice([1.0, 5.0, 9.0], rows) + rng.normal(size=rows) / 9,
            "longitude": rng.normal(size=rows),
            "kind": rng.choice(["a", "b"], rows),
        }
    )
    frame.loc[:9, "longitude"] = np.nan
    targets = np.log(frame["rooms"] / frame["people"]).to_numpy() + rng.normal(size=rows) / 20
    splits = (
        Split(frame[start:stop].reset_index(drop=True), targets[start:stop])
        for start, stop in ((0, rows - 200), (rows - 200, rows))
    )
    return Dataset("made", *splits)


def test_search_finds_the_ratio_that_the_target_depends_on_and_dense_regions() -> None:
    data = make_data()
    feature_set = features.search_features(data, None, 0)
    assert feature_set.ratios[0] in {"rooms/people", "people/rooms"}  # the same for a tree
    assert (
        sum(step["make"] == "distance" for step in feature_set.encoder.steps) == 5
    )  # one per 100 known rows
    encoded = feature_set.encoder(data.train.inputs)
    assert encoded.shape == (400, feature_set.width)
    assert np.isfinite(encoded).all()
    assert len(feature_set.network) < len(feature_set.trees) == feature_set.width
    plain = features.plain_features(data)
    assert {step["make"] for step in plain.encoder.steps} == {"number", "missing", "category"}


def test_columns_without_information_in_the_training_rows_make_no_features() -> None:
    rows, rng = 200, np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "area": rng.normal(size=rows),
            "same": np.full(rows, 3.0),
            "rare": np.full(rows, np.nan),
            "note": [f"only{number}" for number in range(rows)],
            "kind": pd.Series([None] * rows, dtype=object),
        }
    )
    frame.loc[190:, ["same", "rare"]] = [7.0, 1.0]  # these rows are validation rows
    frame.loc[190:, "kind"] = "a"
    splits = (
        Split(frame[start:stop].reset_index(drop=True), frame["area"].to_numpy()[start:stop])
        for start, stop in ((0, 150), (150, rows))
    )
    column_types = {"area": "number", "same": "number", "rare": "number", "note": "text", "kind": "category"}
    data = Dataset("made", *splits, extra={"columns": column_types})
    encoder = find("tabular").encoder(data)
    assert {step["make"] for step in encoder.steps} >= {"bins", "category"}
    for feature_set in (features.search_features(data, encoder, 0), features.plain_features(data)):
        assert len(feature_set.trees) <= feature_set.width < 200  # the bins of area are for the network only
        assert np.isfinite(feature_set.encoder(data.validation.inputs)).all()
    gaps_only = Dataset(
        "made",
        *(Split(split.inputs[["kind"]], split.targets) for split in (data.train, data.validation)),
        extra={"columns": {"kind": "category"}},
    )
    with pytest.raises(BadDataError, match="no feature of kind differs"):
        find("tabular").encoder(gaps_only)


def test_targets_far_from_0_and_close_together_are_centered() -> None:
    near = make_data()
    assert center_targets(near) == (near, 0.0)
    far = replace(near, train=replace(near.train, targets=near.train.targets + 1.7e9))
    centered, offset = center_targets(far)
    assert offset == pytest.approx(1.7e9)
    assert np.abs(centered.train.targets + offset - far.train.targets).max() < 1e-6
    assert centered.validation.targets[0] == near.validation.targets[0] - offset
    assert centered.train.targets.std() == pytest.approx(near.train.targets.std(), rel=1e-6)


def test_overrides_are_split_into_those_of_the_recipe_and_of_families() -> None:
    overrides = {"column.age": "text", "lightgbm.num_leaves": "63", "target": "x"}
    recipe_overrides, family_params = candidates.split_overrides(overrides)
    assert recipe_overrides == {"column.age": "text", "target": "x"}
    assert family_params == {"lightgbm": {"num_leaves": 63}}
    with pytest.raises(UsageError, match="has no parameter 'leafs'"):
        candidates.split_overrides({"extratrees.leafs": "3"})
    with pytest.raises(UsageError, match="no family 'lightbgm'") as raised:
        candidates.parse_families("lightbgm")
    assert "lightgbm" in raised.value.hint


def test_a_journal_of_the_version_before_can_be_read() -> None:
    entry = {"source": "housing", "timeout_s": 30.0, "given": {"lightgbm.num_leaves": "63"}, "seed": 3}
    request = AutomlRequest.from_journal(entry)
    assert request.overrides == {"lightgbm.num_leaves": "63"}
    assert request.to_journal().items() >= entry.items()


def test_candidates_depend_on_the_task() -> None:
    housing = find("housing")
    common: dict[str, Any] = {"families": tuple(candidates.FAMILIES), "rows": 10_000, "family_params": {}}
    specs = candidates.candidate_models(
        housing,
        task="regression",
        metric="mae",
        positive=True,
        **common | {"family_params": {"lightgbm": {"num_leaves": 63}}},
    )
    boosters = {spec.loss: spec for spec in specs if spec.family == "lightgbm"}
    assert set(boosters) == {"l1", "l2", "log"}
    assert {spec.params["num_leaves"] for spec in boosters.values()} == {63}
    assert next(spec.loss for spec in specs if spec.family == "lightgbm") == "l1"
    assert specs[-1].name == "histgradient"
    names = [
        spec.name
        for spec in candidates.candidate_models(
            housing, task="regression", metric="mae", positive=True, has_large_targets=True, **common
        )
    ]
    assert names.index("histgradient") < names.index("network-1")
    with_negative_targets = candidates.candidate_models(
        housing, task="regression", metric="rmse", positive=False, **common
    )
    assert "log" not in {spec.loss for spec in with_negative_targets}
    one_family = candidates.candidate_models(
        housing,
        task="binary",
        metric="auc",
        positive=False,
        **common | {"rows": 100, "families": ("linear",)},
    )
    assert {spec.family for spec in one_family} == {"linear"}


def test_metrics_have_a_direction_and_fit_the_task() -> None:
    recipe_objective = Objective("val_loss", maximize=False)
    normalized = NORMALIZED_RMSE
    assert str(metrics.choose_objective(None, recipe_objective, 0)) == "min:val_mae"
    assert str(metrics.choose_objective(None, recipe_objective, 3)) == "min:val_log_loss"
    assert str(metrics.choose_objective("auc", recipe_objective, 2)) == "max:val_auc"
    assert str(metrics.choose_objective(normalized, recipe_objective, 0)) == f"min:val_{normalized}"
    with pytest.raises(UsageError, match="does not measure numbers"):
        metrics.choose_objective("auc", recipe_objective, 0)
    with pytest.raises(UsageError, match="there is no metric 'acuracy'"):
        metrics.check_metric("acuracy")
    values = metrics.measure(np.array([0.0, 10.0]), np.array([[1.0], [11.0]]), 0, 10.0)
    assert values[normalized] == pytest.approx(0.1)
    values = metrics.measure(np.array([0, 1, 1]), np.array([[0.1], [0.8], [0.9]]), 2, 1.0)
    assert values["auc"] == 1.0
    assert values["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.9]).mean())


def test_blend_has_the_models_that_help_and_no_others() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=500)
    first, second = (targets + rng.normal(size=500) for _ in range(2))
    predictions = {"first": first[:, None], "second": second[:, None], "noise": rng.normal(size=(500, 1)) * 9}
    weights = blend.blend_weights(predictions, targets, "rmse", 0)
    assert set(weights) == {"first", "second"}
    assert sum(weights.values()) == pytest.approx(1)
    assert all(0.3 < weight < 0.7 for weight in weights.values())


def test_a_model_that_is_better_than_the_blend_is_found() -> None:
    board = leaderboard(linear={"val_f1": 0.08}, **{"network-1": {"val_f1": 0.128}})
    better = board.model_better_than({"val_f1": 0.087})
    assert better is not None
    assert (better.model, better.metrics) == ("network-1", {"val_f1": 0.128})
    assert board.model_better_than({"val_f1": 0.128}) is None


def test_log_loss_decides_between_models_that_are_nearly_equal() -> None:
    board = leaderboard(
        linear={"val_f1": 0.80, "val_log_loss": 0.1},
        forest={"val_f1": 0.902, "val_log_loss": 0.4},
        lightgbm={"val_f1": 0.90, "val_log_loss": 0.2},
    )
    assert [entry.model for entry in board.ranking] == ["lightgbm", "forest", "linear"]
    assert board.model_better_than({"val_f1": 0.904, "val_log_loss": 0.15}) is None
    better = board.model_better_than({"val_f1": 0.904, "val_log_loss": 0.3})
    assert better is not None
    assert better.model == "lightgbm"
    three = leaderboard(
        linear={"val_f1": 0.34, "val_log_loss": 1.0}, lightgbm={"val_f1": 0.32, "val_log_loss": 0.9}
    )
    assert [entry.model for entry in three.ranking] == ["linear", "lightgbm"]
    targets = np.repeat([0, 1, 2], [1980, 1980, 40])  # the rarest class makes the mean of all three inexact
    three.table = cast("Any", SimpleNamespace(scored_targets=targets, classes=3))
    assert [entry.model for entry in three.ranking] == ["lightgbm", "linear"]


def leaderboard(**scores: dict[str, float]) -> Leaderboard:
    """Return the leaderboard of models with these metrics of 4,000 rows."""
    unused = cast("Any", None)
    board = Leaderboard(
        table=cast("Any", SimpleNamespace(scored_targets=np.zeros(4000), classes=2)),
        objective=Objective("val_f1", maximize=True),
        runs=unused,
        cache=unused,
        listener=RecordingListener(),
    )
    for name, values in scores.items():
        board.entries[name] = LeaderboardEntry(
            model=name, family=name, run_id="", state="done", score=values["val_f1"], metrics=values
        )
    return board


def test_the_time_budget_reserves_time_for_refits() -> None:
    budget = TimeBudget(time.monotonic() - 10, 60)
    budget.end_phase("starting")
    budget.end_phase("features")
    assert budget.phases["features"] < 10 <= budget.phases["starting"]
    assert budget.left < 50
    assert budget.fit_deadline(0) - time.monotonic() <= 18.1
    assert budget.fit_deadline(1000) - time.monotonic() < 0.1
    assert budget.fit_deadline(1000, first=True) - time.monotonic() > 17
    assert budget.reserve_for_refits([12, 20, 8]) == 20  # 12 and 8: there is no room for the 20 between
    assert budget.reserve_for_refits([22, 8]) == 0


def test_the_first_interrupt_cuts_optional_work_short_and_the_second_raises_anywhere() -> None:
    handler = signal.getsignal(signal.SIGINT)
    with InterruptGuard() as guard:
        os.kill(os.getpid(), signal.SIGINT)
        assert guard.interrupted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with InterruptGuard() as guard, pytest.raises(KeyboardInterrupt), guard.interruptible():
        os.kill(os.getpid(), signal.SIGINT)
    with InterruptGuard(interrupted=True), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.fixture(scope="module")
def table() -> EncodedTable:
    runtime.import_keras()
    housing = resolve("housing")
    values = prepare.check_values(housing, {})
    prepared = prepare.prepare(load(), housing, values, data="synthetic", rows=400, listener=NullProgress())
    feature_set = features.search_features(prepared.data, prepared.encoder, 0)
    return EncodedTable(
        recipe=housing.recipe,
        data=prepared.data,
        features=feature_set,
        train=feature_set.encoder(prepared.data.train.inputs),
        validation=feature_set.encoder(prepared.data.validation.inputs),
        seed=0,
        objective=Objective("val_mae", maximize=False),
    )


def fit(
    spec: ModelSpec, table: EncodedTable, *, timeout_s: float = 60, rounds: int = 0
) -> tuple[Any, list[int]]:
    """Fit a model; return it, and the rounds that were reported."""
    from mlctl.services.automl.fitting import fit_model

    reported: list[int] = []
    deadline = time.monotonic() + timeout_s
    model = fit_model(spec, table, deadline=deadline, on_round=reported.append, rounds=rounds)
    return model, reported


def test_the_recipes_network_is_a_family(table: EncodedTable) -> None:
    spec = ModelSpec(name="network-1", family=NETWORK, params={"epochs": 2, "units": 8, "units2": 4})
    model, rounds = fit(spec, table)  # this compares Keras with the ONNX graph
    assert rounds == [1, 2]
    assert model.predictions.shape == (len(table.validation), 1)
    predictions = onnx_graphs.run_graph(model.graph, table.validation)
    assert np.abs(predictions - model.predictions).max() < 1
    refitted, _ = fit(spec, table.all_rows, rounds=model.rounds)
    assert len(refitted.graph) == pytest.approx(len(model.graph), rel=0.01)


def test_fits_end_at_the_deadline(table: EncodedTable) -> None:
    from mlctl.adapters.estimators.boosting import MIN_ROUNDS

    histogram = ModelSpec(
        name="histgradient", family=HISTOGRAM, loss="l2", params=candidates.DEFAULT_PARAMS[HISTOGRAM]
    )
    model, _ = fit(histogram, table, timeout_s=0)
    assert model.rounds == MIN_ROUNDS
    network = ModelSpec(name="network-1", family=NETWORK, params={"epochs": 1, "units": 8, "units2": 4})
    model, _ = fit(network, table)
    endless = replace(network, params={**network.params, "epochs": 100_000})
    _, rounds = fit(endless, table, timeout_s=2 * model.seconds)
    assert 1 <= len(rounds) < 100_000


def test_models_of_a_small_table_are_scored_by_cross_validation(table: EncodedTable) -> None:
    folded = replace(table, folds=4)
    rows = len(table.train) + len(table.validation)
    linear = ModelSpec(name="linear", family=LINEAR, loss="l2", params={"strength": 1.0})
    model, _ = fit(linear, folded)
    assert model.predictions.shape == (rows, 1)
    folds = np.sort(np.concatenate([fold for fold, _ in folded.split_folds()]))
    assert (folds == np.arange(rows)).all()
    fitted = onnx_graphs.run_graph(model.graph, folded.all_rows.train)[:, 0]
    held_out = model.predictions[:, 0]  # by models that were not fitted to the row: further from its target
    targets = folded.scored_targets
    assert np.abs(held_out - targets).mean() > np.abs(fitted - targets).mean()


@pytest.mark.parametrize("family", [LIGHTGBM, FOREST, HISTOGRAM, LINEAR])
def test_every_family_uses_the_weights_of_classes_and_rows(table: EncodedTable, family: str) -> None:
    halves = [table.data.train, table.data.validation]
    limit = np.quantile(halves[0].targets, 0.8)
    train, validation = (
        replace(split, targets=(split.targets > limit).astype(np.int64), weights=None) for split in halves
    )
    data = replace(table.data, train=train, validation=validation, classes=("cheap", "dear"), unit="")
    plain = replace(table, data=data, objective=Objective("val_f1", maximize=True), offset=0.0)
    by_class = replace(plain, data=replace(data, class_weight={0: 1.0, 1: 30.0}))
    weighted = replace(train, weights=np.where(train.targets == 1, 30.0, 1.0).astype(np.float32))
    by_row = replace(plain, data=replace(data, train=weighted))
    params = {**candidates.DEFAULT_PARAMS[family]}
    spec = ModelSpec(name=family, family=family, params=params)
    means = [fit(spec, each)[0].predictions.mean() for each in (plain, by_class, by_row)]
    assert min(means[1:]) > 1.02 * means[0]
    trained = by_row.all_rows.data.train  # validation rows have no weights: each counts as 1
    assert list(trained.weights) == [*weighted.weights, *([1.0] * len(validation.targets))]
    for fold, part in replace(by_row, folds=3).split_folds():
        assert list(part.data.validation.weights) == list(trained.weights[fold])
        assert len(part.data.train.weights) == len(part.train)


def test_known_rows_get_the_mean_targets_of_other_rows_and_new_rows_those_of_all() -> None:
    rng = np.random.default_rng(3)
    shops = rng.choice([f"shop {number}" for number in range(40)], 400)
    frame = pd.DataFrame({"shop": shops, "noise": rng.normal(size=400)})
    targets = rng.normal(size=400)  # no relation: out of fold, means must not know their own row
    steps = category_targets.lookup_steps("shop", frame["shop"], targets[:, np.newaxis])
    encoder = encoders.table(frame, steps)
    encoded = encoder(frame)
    in_fold = abs(np.corrcoef(encoded[:, 0], targets)[0, 1])
    category_targets.out_of_fold(encoder, frame, targets[:, np.newaxis], encoded, 0)
    assert in_fold > 0.2 > abs(np.corrcoef(encoded[:, 0], targets)[0, 1])
    unknown = encoder(pd.DataFrame({"shop": ["shop 99", None], "noise": [0.0, 0.0]}))
    assert unknown[0, 0] == pytest.approx(unknown[1, 0])  # a gap that training did not have is unknown, too
    assert unknown[0, 0] == pytest.approx((targets.mean() - encoder.mean[0]) / encoder.scale[0])


def test_mean_targets_are_those_of_classes_or_of_the_logarithm_of_skewed_numbers() -> None:
    classes = category_targets.smoothed_targets(np.array([0, 1, 2, 1]), 3)
    assert classes.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert category_targets.smoothed_targets(np.array([0, 1]), 2).shape == (2, 1)
    skewed = np.exp(np.random.default_rng(0).normal(size=200) * 2)
    assert np.allclose(category_targets.smoothed_targets(skewed, 0)[:, 0], np.log(skewed))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_temperature_calibrates_a_blend_and_is_part_of_its_graph(classes: int) -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(600, classes if classes > 2 else 1))
    transform = onnx_graphs.OutputTransform("softmax" if classes > 2 else "sigmoid")
    truth = transform(logits)
    if classes == 2:
        targets = (rng.random(600) < truth[:, 0]).astype(np.int64)
    else:
        targets = np.array([rng.choice(classes, p=row) for row in truth])
    too_sure = transform(logits * 2)
    temperature = blend.fit_temperature(too_sure, targets, classes)
    assert 1.25 < temperature < 1.6  # between 1 and the right one, 2: there are few rows
    assert blend.fit_temperature(truth, targets, classes) == pytest.approx(1.0, abs=0.25)
    width = logits.shape[1]
    part = onnx_graphs.from_linear(2 * np.eye(width), np.zeros(width), width, range(width), transform)
    graph = onnx_graphs.blend_graphs([(0.5, part), (0.5, part)], temperature=temperature)
    expected = onnx_graphs.apply_temperature(too_sure, temperature)
    onnx_graphs.check_graph(graph, logits.astype(np.float32), expected, 1.0)


def test_small_tables_are_blended_from_the_models_of_all_folds() -> None:
    data = make_data(300)
    feature_set = features.plain_features(data)
    rows = features.known_rows(data)
    encoded = feature_set.encoder(rows)
    table = EncodedTable(
        recipe=find("tabular"),
        data=data,
        features=feature_set,
        train=encoded[: len(data.train)],
        validation=encoded[len(data.train) :],
        seed=0,
        objective=Objective("val_mae", maximize=False),
        folds=5,
    )
    params = {**candidates.DEFAULT_PARAMS[LIGHTGBM], "num_leaves": 4, "min_data_in_leaf": 5, "rounds": 20}
    spec = ModelSpec(name="lightgbm", family=LIGHTGBM, loss="l1", params=params)
    fitted = fitting.fit_model(spec, table, deadline=time.monotonic() + 60, on_round=lambda _: None)
    assert fitted.fitted_to_all
    assert fitted.predictions.shape == (300, 1)
    again = fitting.fit_model(spec, table, deadline=time.monotonic() + 60, on_round=lambda _: None)
    assert np.array_equal(fitted.predictions, again.predictions)  # whatever the order of the threads
    # rows that a fold has not seen are harder than what all models together answer
    answers = onnx_graphs.run_graph(fitted.graph, encoded)
    errors = [np.abs(values[:, 0] - table.scored_targets).mean() for values in (answers, fitted.predictions)]
    assert errors[0] < errors[1]


def test_texts_have_linear_models_and_a_network_only() -> None:
    recipe = find("texts")
    specs = candidates.candidate_models(
        recipe,
        task="binary",
        metric="log_loss",
        positive=False,
        rows=1000,
        families=tuple(candidates.FAMILIES),
        family_params={},
        texts=True,
    )
    assert {spec.family for spec in specs} == {LINEAR, NETWORK}
    bags = SparseBags(np.array([0, 2, 1], np.uint16), np.array([0, 2, 3]), 3, np.array([1, 2, 3], np.float32))
    assert text_tables.as_matrix(bags).toarray().tolist() == [[1, 0, 2], [0, 3, 0]]
