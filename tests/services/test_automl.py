"""The parts of automl: what may be told, features, metrics, weights, time."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from mlctl.adapters.keras import runtime
from mlctl.adapters.models import onnx_graphs
from mlctl.data.dataset import Dataset, Split
from mlctl.domain.automl import LeaderboardEntry
from mlctl.domain.objective import Objective
from mlctl.domain.progress import NullProgress
from mlctl.domain.tune import QuietSearch
from mlctl.errors import BadDataError, UsageError
from mlctl.recipes import find
from mlctl.services.automl import blend, features, metrics, models
from mlctl.services.automl.interrupts import Interrupts
from mlctl.services.automl.leaderboard import Leaderboard
from mlctl.services.automl.table import Table, centred
from mlctl.services.automl.time_budget import TimeBudget
from mlctl.services.recipes import prepare
from mlctl.settings import load


def data(rows: int = 600) -> Dataset:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({
        "rooms": rng.lognormal(3, 0.5, rows), "people": rng.lognormal(1, 0.5, rows),
        "latitude": rng.choice([1.0, 5.0, 9.0], rows) + rng.normal(size=rows) / 9, "longitude": rng.normal(size=rows),
        "kind": rng.choice(["a", "b"], rows),
    })  # fmt: skip
    frame.loc[:9, "longitude"] = np.nan
    targets = np.log(frame["rooms"] / frame["people"]).to_numpy() + rng.normal(size=rows) / 20
    splits = (
        Split(frame[a:b].reset_index(drop=True), targets[a:b])
        for a, b in ((0, rows - 200), (rows - 200, rows))
    )
    return Dataset("made", *splits)


def test_features_find_the_ratio_that_the_target_is_and_places() -> None:
    table = data()
    found = features.featurized(table, None, 0)
    assert found.ratios[0] in {"rooms/people", "people/rooms"}  # a tree does not mind
    assert sum(step["make"] == "distance" for step in found.encoder.steps) == 3  # one to a hundred rows
    encoded = found.encoder(table.train.inputs)
    assert encoded.shape == (400, found.width)
    assert np.isfinite(encoded).all()
    assert len(found.network) < len(found.trees) == found.width
    plain = features.as_it_is(table)
    assert {step["make"] for step in plain.encoder.steps} == {"number", "missing", "category"}


def test_columns_that_carry_nothing_in_the_training_rows_make_no_features() -> None:
    rows, rng = 200, np.random.default_rng(2)
    frame = pd.DataFrame({
        "area": rng.normal(size=rows), "same": np.full(rows, 3.0), "rare": np.full(rows, np.nan),
        "note": [f"only{number}" for number in range(rows)], "kind": pd.Series([None] * rows, dtype=object),
    })  # fmt: skip
    frame.loc[190:, ["same", "rare"]] = [7.0, 1.0]  # both dealt to validation
    frame.loc[190:, "kind"] = "a"
    halves = (
        Split(frame[a:b].reset_index(drop=True), frame["area"].to_numpy()[a:b])
        for a, b in ((0, 150), (150, rows))
    )
    kinds = {"area": "number", "same": "number", "rare": "number", "note": "text", "kind": "category"}
    table = Dataset("made", *halves, extra={"columns": kinds})
    own = find("tabular").encoder(table)
    assert {step["make"] for step in own.steps} >= {"bins", "text", "category"}
    for made in (features.featurized(table, own, 0), features.as_it_is(table)):
        assert len(made.trees) <= made.width < 30  # the bins of area are the network's alone
        assert np.isfinite(made.encoder(table.validation.inputs)).all()
    notes = Dataset("made", *(Split(one.inputs[["note"]], one.targets) for one in (table.train, table.validation)),
                    extra={"columns": {"note": "text"}})  # fmt: skip
    with pytest.raises(BadDataError, match="nothing in note tells the rows"):
        find("tabular").encoder(notes)


def test_targets_far_from_0_that_lie_close_together_are_centred() -> None:
    near = data()
    assert centred(near) == (near, 0.0)
    far = replace(near, train=replace(near.train, targets=near.train.targets + 1.7e9))
    found, offset = centred(far)
    assert offset == pytest.approx(1.7e9)
    assert np.abs(found.train.targets + offset - far.train.targets).max() < 1e-6
    assert found.validation.targets[0] == near.validation.targets[0] - offset
    assert found.train.targets.std() == pytest.approx(near.train.targets.std(), rel=1e-6)


def test_what_is_set_goes_to_the_recipe_or_to_a_family() -> None:
    own, families = models.divided({"column.age": "text", "lightgbm.num_leaves": "63", "target": "x"})
    assert own == {"column.age": "text", "target": "x"}
    assert families == {"lightgbm": {"num_leaves": 63}}
    with pytest.raises(UsageError, match="is not told 'leafs'"):
        models.divided({"extratrees.leafs": "3"})
    with pytest.raises(UsageError, match="no family 'lightbgm'") as caught:
        models.chosen("lightbgm")
    assert "lightgbm" in caught.value.hint


def test_the_line_up_knows_the_task() -> None:
    every = tuple(models.FAMILIES)
    housing = find("housing")
    numbers = models.line_up(
        housing, "regression", True, 10_000, every, {"lightgbm": {"num_leaves": 63}}, "mae"
    )
    boosters = {one.loss: one for one in numbers if one.family == "lightgbm"}
    assert set(boosters) == {"l1", "l2", "log"}
    assert {one.params["num_leaves"] for one in boosters.values()} == {63}
    assert next(one.loss for one in numbers if one.family == "lightgbm") == "l1"
    below = models.line_up(housing, "regression", False, 10_000, every, {}, "rmse")
    assert "log" not in {one.loss for one in below}
    assert {one.family for one in models.line_up(housing, "binary", False, 100, ("linear",), {}, "auc")} == {
        "linear"
    }


def test_metrics_have_a_direction_and_fit_the_task() -> None:
    recipes = Objective("val_loss", maximize=False)
    assert str(metrics.objective(None, recipes, 0)) == "min:val_mae"
    assert str(metrics.objective(None, recipes, 3)) == "min:val_log_loss"
    assert str(metrics.objective("auc", recipes, 2)) == "max:val_auc"
    assert str(metrics.objective(metrics.NORMALIZED, recipes, 0)) == f"min:val_{metrics.NORMALIZED}"
    with pytest.raises(UsageError, match="does not measure numbers"):
        metrics.objective("auc", recipes, 0)
    with pytest.raises(UsageError, match="there is no metric 'acuracy'"):
        metrics.check("acuracy")
    found = metrics.measured(np.array([0.0, 10.0]), np.array([[1.0], [11.0]]), 0, 10.0)
    assert found[metrics.NORMALIZED] == pytest.approx(0.1)
    sure = metrics.measured(np.array([0, 1, 1]), np.array([[0.1], [0.8], [0.9]]), 2, 1.0)
    assert sure["auc"] == 1.0
    assert sure["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.9]).mean())


def test_weights_take_what_helps_and_leave_the_rest() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=500)
    one, two = (targets + rng.normal(size=500) for _ in range(2))
    answers = {"one": one[:, None], "two": two[:, None], "none": rng.normal(size=(500, 1)) * 9}
    found = blend.weights(answers, targets, "rmse", 0)
    assert set(found) == {"one", "two"}
    assert sum(found.values()) == pytest.approx(1)
    assert all(0.3 < share < 0.7 for share in found.values())


def test_a_model_that_beats_the_blend_by_the_metric_asked_for_is_found() -> None:
    board = Leaderboard(
        cast("Any", None), Objective("val_f1", maximize=True), *cast("Any", [None] * 2), QuietSearch()
    )
    for name, score in (("linear", 0.08), ("network-1", 0.128)):
        board.ranked[name] = LeaderboardEntry(name, name, "", "done", score, {"val_f1": score})
    found = board.better_alone({"val_f1": 0.087})
    assert found is not None
    assert (found.model, found.metrics) == ("network-1", {"val_f1": 0.128})
    assert board.better_alone({"val_f1": 0.128}) is None


def test_the_clock_keeps_time_for_the_end() -> None:
    clock = TimeBudget(time.monotonic() - 10, 60)
    assert clock.left < 50
    assert clock.until(0) - time.monotonic() <= 15.1
    assert clock.until(1000) - time.monotonic() < 0.1
    assert clock.until(1000, none_yet=True) - time.monotonic() > 14
    assert clock.for_refits([12, 20, 8]) == 20  # 12 and 8: the one between has no room
    assert clock.for_refits([22, 8]) == 0


def test_the_first_interrupt_of_an_end_cuts_short_what_can_be_and_the_second_ends_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)  # noted, and what runs is done
        assert interrupts.noted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt), interrupts.cutting():
        os.kill(os.getpid(), signal.SIGINT)
    with Interrupts(noted=True), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_recipes_network_is_a_family_and_few_rows_are_judged_in_folds() -> None:
    runtime.import_keras()
    from mlctl.services.automl.fitting import TREES_LEAST, fit

    recipe, values = prepare.recipe_values("housing", {})
    prepared = prepare.prepare(load(), recipe, values, "synthetic", 400, NullProgress())
    made = features.featurized(prepared.data, prepared.encoder, 0)
    train, validation = (
        made.encoder(split.inputs) for split in (prepared.data.train, prepared.data.validation)
    )
    goal = Objective("val_mae", maximize=False)
    table = Table(recipe, prepared.data, made, train, validation, 0, goal)
    spec = models.Spec("network-1", models.NETWORK, params={"epochs": 2, "units": 8, "units2": 4})
    until, ticks = time.monotonic() + 60, []
    fitted = fit(spec, table, until, lambda rounds, _: ticks.append(rounds))  # compares Keras with the graph
    assert ticks == [1, 2]
    assert fitted.answers.shape == (len(validation), 1)
    assert np.abs(onnx_graphs.answers(fitted.graph, validation) - fitted.answers).max() < 1
    again = fit(spec, table.whole, until, lambda *_: None, fitted.rounds)
    assert len(again.graph) == pytest.approx(len(fitted.graph), rel=0.01)

    late = models.Spec("histgradient", models.HISTOGRAM, "l2", {**models.DEFAULTS[models.HISTOGRAM]})
    assert fit(late, table, time.monotonic(), lambda *_: None).rounds == TREES_LEAST  # it hears the clock
    spec = replace(spec, params={**spec.params, "epochs": 100_000})
    ticks.clear()
    fit(spec, table, time.monotonic() + 1, lambda rounds, _: ticks.append(rounds))
    assert 1 <= len(ticks) < 100_000

    folded = Table(recipe, prepared.data, made, train, validation, 0, goal, folds=4)
    line = fit(models.Spec("linear", models.LINEAR, "l2", {"strength": 1.0}), folded, until, lambda *_: None)
    assert line.answers.shape == (len(train) + len(validation), 1)
    hands = np.sort(np.concatenate([hand for hand, _ in folded.dealt()]))
    assert (hands == np.arange(len(line.answers))).all()
    seen = onnx_graphs.answers(line.graph, folded.whole.train)[:, 0]
    held_out = line.answers[:, 0]  # of models that had not seen the row: further from its target
    assert np.abs(held_out - folded.judged).mean() > np.abs(seen - folded.judged).mean()
