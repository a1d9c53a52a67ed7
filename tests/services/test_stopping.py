import random

import pytest

from mlctl.domain import Objective
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


def test_a_factor_on_a_negative_metric_is_refused():
    with pytest.raises(UsageError, match="factor of a negative"):
        rule("bandit:slack=0.1", Objective("val_r2", True)).verdict([-1, -0.5], {"a": [-2, 0.4]})
    assert rule("bandit:amount=0.5", Objective("val_r2", True)).verdict([-1, -0.5], {"a": [-2, 0.4]})


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


@pytest.mark.parametrize("text", ["bandit:slack=0.1,interval=2", "median:delay=1"])
@pytest.mark.parametrize("objective", [UP, DOWN], ids=["max", "min"])
def test_rules_save_epochs_and_keep_the_best_in_any_order(text, objective):
    """Curves that approach their end as trainings do; two trials run at a time, in 100 orders."""
    draw = random.Random(1)
    curves = {}
    for number in range(24):
        end, speed = draw.uniform(0.6, 0.95) if number else 0.97, draw.uniform(0.4, 0.8)
        values = [end * (1 - speed ** (epoch + 1)) for epoch in range(10)]
        curves[f"{number}"] = values if objective.maximize else [1e5 * (1.2 - value) for value in values]
    saved = 0
    for order in range(100):
        spent, best_kept = replayed(rule(text, objective), curves, random.Random(order))
        assert best_kept, order
        saved += 240 - spent
    assert saved / 100 > 0.15 * 240


def replayed(stop, curves, draw):
    waiting, running, seen, spent, stopped = list(curves), [], {}, 0, set()
    draw.shuffle(waiting)
    while waiting or running:
        while waiting and len(running) < 2:
            running.append(waiting.pop())
        for name in list(running):
            seen.setdefault(name, []).append(curves[name][len(seen.get(name, ()))])
            spent += 1
            others = {other: curve for other, curve in seen.items() if other != name}
            if stop.verdict(seen[name], others) or len(seen[name]) == len(curves[name]):
                if len(seen[name]) < len(curves[name]):
                    stopped.add(name)
                running.remove(name)
    return spent, "0" not in stopped
