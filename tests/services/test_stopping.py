"""Stop rules: when they stop a trial, and how many epochs they save on recorded curves."""

import json
import random
from pathlib import Path

import pytest

from mlctl.domain.objective import Objective
from mlctl.errors import UsageError
from mlctl.services.tuning.stopping import STOP_RULES, parse_stop_rule

pytestmark = pytest.mark.unit

UP, DOWN = Objective("val_accuracy", True), Objective("val_mae", False)


def test_bandit_compares_with_the_best_of_the_same_epoch_every_second_epoch_after_its_delay():
    bandit = parse_stop_rule("bandit:slack=0.1,interval=2,delay=1", UP)
    others = {"0001": [0.5, 0.8, 0.9, 0.95]}
    assert bandit.reason_to_stop([0.1], others) == ""  # delay
    assert bandit.reason_to_stop([0.1, 0.74], others) == ""  # 0.8 / 1.1 is 0.727
    assert "0.72 at epoch 2, the best had 0.8" in bandit.reason_to_stop([0.1, 0.72], others)
    assert bandit.reason_to_stop([0.1, 0.74, 0.75], others) == ""  # between intervals
    assert bandit.reason_to_stop([0.1, 0.74, 0.75, 0.8, 0.8, 0.8], others) == ""  # no other has 6 epochs


def test_bandit_minimizes_by_factor_and_by_amount():
    assert parse_stop_rule("bandit:slack=0.1", DOWN).reason_to_stop([9, 112], {"a": [9, 9.9]}) == ""
    assert parse_stop_rule("bandit:slack=0.1", DOWN).reason_to_stop([130, 112], {"a": [150, 100]}) != ""
    assert parse_stop_rule("bandit:amount=15", DOWN).reason_to_stop([130, 112], {"a": [150, 100]}) == ""
    assert parse_stop_rule("bandit:amount=11", DOWN).reason_to_stop([130, 112], {"a": [150, 100]}) != ""


@pytest.mark.parametrize("text", ["bandit:slack=0.1", "median"])
def test_nan_of_others_is_ignored_and_nan_of_a_trial_stops_it(text):
    nan = float("nan")
    rule = parse_stop_rule(text, UP)
    assert rule.reason_to_stop([0.1, 0.2], {"a": [nan, nan], "b": [nan, nan]}) == ""
    assert rule.reason_to_stop([0.8, 0.9], {"a": [nan, nan], "b": [0.5, 0.6], "c": [nan, 0.6]}) == ""
    assert rule.reason_to_stop([0.1, 0.2], {"a": [nan, nan], "b": [0.5, 0.6], "c": [nan, 0.6]}) != ""
    assert rule.reason_to_stop([nan, nan], {"b": [0.5, 0.6], "c": [0.5, 0.6]}) != ""


def test_a_factor_on_a_metric_that_may_be_negative_is_refused_at_the_start():
    objective = Objective("val_r2", True)
    with pytest.raises(UsageError, match="val_r2 may be negative") as caught:
        parse_stop_rule("bandit:slack=0.1", objective)
    assert "bandit:amount" in caught.value.hint
    assert parse_stop_rule("bandit:amount=0.5", objective).reason_to_stop([-1, -0.5], {"a": [-2, 0.4]})


def test_a_factor_is_not_applied_to_a_negative_number_and_the_user_is_notified_once():
    messages = []
    bandit = parse_stop_rule("bandit:slack=0.1", Objective("val_gain", True), messages.append)
    assert bandit.reason_to_stop([-1, -0.5], {"a": [-2, 0.4]}) == ""
    assert bandit.reason_to_stop([-1, -0.6], {"a": [-2, 0.7]}) == ""
    assert len(messages) == 1
    assert "val_gain" in messages[0]
    assert bandit.reason_to_stop([0.1, 0.2], {"a": [0.1, 0.7]})  # it still compares positive numbers


def test_median_stops_the_worse_half():
    median = parse_stop_rule("median:delay=1", UP)
    others = {"a": [0.5, 0.9], "b": [0.4, 0.8], "c": [0.2, 0.3]}  # running means .7, .6, .25
    assert median.reason_to_stop([0.1], others) == ""
    assert median.reason_to_stop([0.1, 0.65], others) == ""
    assert median.reason_to_stop([0.1, 0.5], others).endswith("at epoch 2, below the others' median 0.6")
    of_errors = parse_stop_rule("median:delay=1", DOWN)
    assert "at epoch 2, above the others' median" in of_errors.reason_to_stop([0.9, 0.8], others)
    assert median.reason_to_stop([0.1, 0.5], {"a": [0.5, 0.9]}) == ""  # one other trial has no median


@pytest.mark.parametrize(
    "text",
    [
        "bandit",
        "bandit:slack=0.1,amount=1",
        "bandit:slack=-1",
        "bandit:slack=x",
        "bandid:slack=1",
        "median:slack=1",
        "median:interval=0",
    ],
)
def test_an_invalid_rule_is_refused(text):
    with pytest.raises(UsageError, match=f"--stop {text}"):
        parse_stop_rule(text, UP)


def test_a_new_rule_needs_one_class_and_one_line(monkeypatch):
    class Never:
        OPTIONS = {"delay": 0}  # noqa: RUF012

        @classmethod
        def from_options(cls, options, objective, notify):
            return cls()

        def reason_to_stop(self, curve, others):
            return ""

    monkeypatch.setitem(STOP_RULES, "never", Never)
    assert parse_stop_rule("never:delay=3", UP).reason_to_stop([0.1], {"a": [0.9]}) == ""
    with pytest.raises(UsageError, match="never has no option 'slack'"):
        parse_stop_rule("never:slack=3", UP)


# what `mlctl tune` recorded on real data, 24 random trials each: mnist-mlp (units, optimizer, learning rate
# 1e-5..1e-1, 8 epochs) and housing (two widths 2..64, 1 to 3 layers, learning rate 1e-4..1e-1, 15 epochs)
RECORDED = json.loads(Path(__file__).with_name("curves.json").read_text())
ORDERS = 200


@pytest.mark.parametrize(
    ("search", "text"),
    [
        ("mnist-mlp", "bandit:slack=0.05,interval=2,delay=1"),  # accuracies near 1 are close to each other
        ("mnist-mlp", "median:delay=1"),
        ("housing", "bandit:slack=0.1,interval=2,delay=1"),
        ("housing", "median:delay=1"),
    ],
)
def test_rules_save_a_third_of_recorded_epochs_and_keep_the_best_trial_in_any_order(search, text):
    direction, metric = RECORDED[search]["objective"].split(":")
    objective = Objective(metric, direction == "max")
    best_of = max if objective.maximize else min
    curves = {str(number): curve for number, curve in enumerate(RECORDED[search]["curves"])}
    best = best_of(curves, key=lambda name: best_of(curves[name]))
    spent = 0
    for order in range(ORDERS):
        epochs, stopped = replayed(parse_stop_rule(text, objective), curves, random.Random(order))
        assert best not in stopped, order
        spent += epochs
    saved = 1 - spent / ORDERS / sum(map(len, curves.values()))
    print(f"{search}, {text}: {saved:.0%} of epochs saved, the best kept in {ORDERS} of {ORDERS} orders")
    assert saved >= 0.3


def replayed(rule, curves, rng):
    """Return the number of trained epochs and the stopped trials, with two trials at a time."""
    waiting, running, trained, spent, stopped = list(curves), [], {}, 0, set()
    rng.shuffle(waiting)
    while waiting or running:
        while waiting and len(running) < 2:
            running.append(waiting.pop())
        for name in list(running):
            trained.setdefault(name, []).append(curves[name][len(trained.get(name, ()))])
            spent += 1
            others = {other: curve for other, curve in trained.items() if other != name}
            if len(trained[name]) == len(curves[name]):
                running.remove(name)
            elif rule.reason_to_stop(trained[name], others):
                stopped.add(name)
                running.remove(name)
    return spent, stopped
