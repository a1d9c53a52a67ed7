import json
import random
from pathlib import Path

import pytest

from mlctl.domain.objective import Objective
from mlctl.errors import UsageError
from mlctl.services.tuning.stopping import rule

UP, DOWN = Objective("val_accuracy", True), Objective("val_mae", False)


def test_a_bandit_looks_at_the_best_of_the_same_epoch_every_second_epoch_after_its_delay():
    bandit = rule("bandit:slack=0.1,interval=2,delay=1", UP)
    others = {"0001": [0.5, 0.8, 0.9, 0.95]}
    assert bandit.verdict([0.1], others) == ""  # delay
    assert bandit.verdict([0.1, 0.74], others) == ""  # 0.8 / 1.1 is 0.727
    assert "0.72 at epoch 2, where the best had 0.8" in bandit.verdict([0.1, 0.72], others)
    assert bandit.verdict([0.1, 0.74, 0.75], others) == ""  # not its turn
    assert bandit.verdict([0.1, 0.74, 0.75, 0.8, 0.8, 0.8], others) == ""  # nobody has come so far


def test_a_bandit_minimises_by_factor_and_by_amount():
    assert rule("bandit:slack=0.1", DOWN).verdict([9, 112], {"a": [9, 9.9]}) == ""  # its best was 9
    assert rule("bandit:slack=0.1", DOWN).verdict([130, 112], {"a": [150, 100]}) != ""
    assert rule("bandit:amount=15", DOWN).verdict([130, 112], {"a": [150, 100]}) == ""
    assert rule("bandit:amount=11", DOWN).verdict([130, 112], {"a": [150, 100]}) != ""


def test_rivals_that_are_no_numbers_count_for_nothing_and_one_that_is_none_is_stopped():
    nan = float("nan")
    for text in ("bandit:slack=0.1", "median"):
        judge = rule(text, UP)
        assert judge.verdict([0.1, 0.2], {"a": [nan, nan], "b": [nan, nan]}) == ""
        assert judge.verdict([0.8, 0.9], {"a": [nan, nan], "b": [0.5, 0.6], "c": [nan, 0.6]}) == ""
        assert judge.verdict([0.1, 0.2], {"a": [nan, nan], "b": [0.5, 0.6], "c": [nan, 0.6]}) != ""
        assert judge.verdict([nan, nan], {"b": [0.5, 0.6], "c": [0.5, 0.6]}) != ""


def test_a_factor_on_a_metric_that_may_be_negative_is_refused_at_the_start():
    with pytest.raises(UsageError, match="val_r2 may be negative") as caught:
        rule("bandit:slack=0.1", Objective("val_r2", True))
    assert "bandit:amount" in caught.value.hint
    assert rule("bandit:amount=0.5", Objective("val_r2", True)).verdict([-1, -0.5], {"a": [-2, 0.4]})


def test_a_factor_that_meets_a_negative_number_compares_nothing_and_says_so_once():
    said = []
    bandit = rule("bandit:slack=0.1", Objective("val_gain", True), said.append)
    assert bandit.verdict([-1, -0.5], {"a": [-2, 0.4]}) == ""
    assert bandit.verdict([-1, -0.6], {"a": [-2, 0.7]}) == ""
    assert len(said) == 1
    assert "val_gain" in said[0]
    assert bandit.verdict([0.1, 0.2], {"a": [0.1, 0.7]})  # above 0 it goes on


def test_the_median_stops_the_worse_half():
    median = rule("median:delay=1", UP)
    others = {"a": [0.5, 0.9], "b": [0.4, 0.8], "c": [0.2, 0.3]}  # running means .7, .6, .25
    assert median.verdict([0.1], others) == ""
    assert median.verdict([0.1, 0.65], others) == ""
    assert "median 0.6" in median.verdict([0.1, 0.5], others)
    assert median.verdict([0.1, 0.5], {"a": [0.5, 0.9]}) == ""  # one other is no median


@pytest.mark.parametrize("text", ["bandit", "bandit:slack=0.1,amount=1", "bandit:slack=-1", "bandit:slack=x",
                                  "bandid:slack=1", "median:slack=1", "median:interval=0"])  # fmt: skip
def test_a_rule_that_cannot_be_is_refused(text):
    with pytest.raises(UsageError):
        rule(text, UP)


# what `mlctl tune` recorded on real data, 24 random trials each: mnist-mlp (units, optimizer, learning rate
# 1e-5..1e-1, 8 epochs) and housing (two widths 2..64, 1 to 3 layers, learning rate 1e-4..1e-1, 15 epochs)
RECORDED = json.loads(Path(__file__).with_name("curves.json").read_text())
ORDERS = 200


@pytest.mark.parametrize(
    ("search", "text"),
    [
        ("mnist-mlp", "bandit:slack=0.05,interval=2,delay=1"),  # accuracies near 1 lie close to each other
        ("mnist-mlp", "median:delay=1"),
        ("housing", "bandit:slack=0.1,interval=2,delay=1"),
        ("housing", "median:delay=1"),
    ],
)
def test_rules_save_a_third_of_recorded_epochs_and_keep_the_best_in_any_order(search, text):
    way, metric = RECORDED[search]["objective"].split(":")
    objective = Objective(metric, way == "max")
    best_of = max if objective.maximize else min
    curves = {str(number): curve for number, curve in enumerate(RECORDED[search]["curves"])}
    best = best_of(curves, key=lambda name: best_of(curves[name]))
    spent = 0
    for order in range(ORDERS):
        epochs, stopped = replayed(rule(text, objective), curves, random.Random(order))
        assert best not in stopped, order
        spent += epochs
    saved = 1 - spent / ORDERS / sum(map(len, curves.values()))
    print(f"{search}, {text}: {saved:.0%} of epochs saved, the best kept in {ORDERS} of {ORDERS} orders")
    assert saved >= 0.3


def replayed(stop, curves, draw):
    """Return the epochs that were trained and the trials that were stopped, two trials at a time."""
    waiting, running, seen, spent, stopped = list(curves), [], {}, 0, set()
    draw.shuffle(waiting)
    while waiting or running:
        while waiting and len(running) < 2:
            running.append(waiting.pop())
        for name in list(running):
            seen.setdefault(name, []).append(curves[name][len(seen.get(name, ()))])
            spent += 1
            others = {other: curve for other, curve in seen.items() if other != name}
            if len(seen[name]) == len(curves[name]):
                running.remove(name)
            elif stop.verdict(seen[name], others):
                stopped.add(name)
                running.remove(name)
    return spent, stopped
