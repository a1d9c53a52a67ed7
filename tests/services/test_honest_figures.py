"""Confidence intervals, thresholds and folds."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from mlctl.data.dataset import Dataset, Split
from mlctl.domain.outputs import Output, classes, values
from mlctl.domain.threshold import parse_threshold
from mlctl.errors import UsageError
from mlctl.scores import score_outputs
from mlctl.services.evaluation.intervals import score_intervals, wilson_interval
from mlctl.services.evaluation.threshold import choose_threshold
from mlctl.services.training.folds import fold_data, split_folds

pytestmark = pytest.mark.unit

OUTPUT = classes("no", "yes")


def answers(rows: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    targets = (rng.random(rows) < 0.2).astype(int)
    return targets, 1 / (1 + np.exp(-(rng.normal(size=rows) + 2 * targets - 2)))


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert wilson_interval(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert wilson_interval(1.0, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)


@pytest.mark.parametrize("rows", [300, 12_000])
def test_intervals_hold_the_score_of_new_rows(rows: int) -> None:
    targets, probabilities = answers(rows)
    found = score_outputs((OUTPUT,), targets, probabilities)
    intervals = score_intervals((OUTPUT,), targets, probabilities, found)
    assert set(intervals) == set(found)
    new = score_outputs((OUTPUT,), *answers(200_000, seed=1))
    for name, (low, high) in intervals.items():
        assert low <= found[name] <= high
        assert low - 0.01 <= new[name] <= high + 0.01, name
    assert intervals == score_intervals((OUTPUT,), targets, probabilities, found)  # a fixed seed


def test_the_bootstrap_has_the_width_of_the_standard_error() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(5e6, 1e6, 1000)
    predictions = targets + rng.normal(0, 1e5, 1000)
    found = score_outputs((values(),), targets, predictions)
    low, high = score_intervals((values(),), targets, predictions, found)["mae"]
    error = np.abs(targets - predictions).std() / np.sqrt(1000)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_several_classes_and_ties() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 400)
    predictions = rng.dirichlet(np.ones(3), 400) + np.eye(3)[targets]
    output = classes("a", "b", "c")
    found = score_outputs((output,), targets, predictions)
    intervals = score_intervals((output,), targets, predictions, found)
    assert {"accuracy", "f1", "log_loss", "brier"} <= set(intervals)
    ties = np.round(answers(400)[1], 1)
    found = score_outputs((OUTPUT,), answers(400)[0], ties)
    low, high = score_intervals((OUTPUT,), answers(400)[0], ties, found)["auc"]
    assert low < found["auc"] < high


def test_rows_without_an_interval() -> None:
    assert score_intervals((OUTPUT,), np.array([1]), np.array([0.5]), {"accuracy": 1.0}) == {}
    assert score_intervals((Output(kind="none"),), None, np.zeros(4), {}) == {}
    masks = Output(kind="pixels", classes=("a", "b"))
    assert score_intervals((masks,), np.zeros((2, 4, 4)), np.zeros((2, 4, 4, 2)), {"accuracy": 1.0}) == {}


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("f1", "f1", 0.5),
        ("balanced", "balanced", 0.5),
        ("0.3", "fixed", 0.3),
        ("10", "cost", 10),
        ("5:2", "cost", 2.5),
    ],
)
def test_a_rule_is_read(text: str, kind: str, value: float) -> None:
    rule = parse_threshold(text)
    assert (rule.kind, rule.value) == (kind, value)


@pytest.mark.parametrize("text", ["f2", "0", "-1", "1:0", "nan"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"threshold="):
        parse_threshold(text)


def test_the_chosen_threshold_is_the_best_one() -> None:
    targets, probabilities = answers(500)
    cuts = np.linspace(0.001, 0.999, 999)
    best = max(metrics.f1_score(targets, probabilities > cut) for cut in cuts)
    found = choose_threshold(parse_threshold("f1"), targets, probabilities, "yes")
    assert found.scores["f1"] == pytest.approx(best, abs=1e-3)
    assert metrics.f1_score(targets, probabilities > found.value) == found.scores["f1"]
    cost = min(
        10 * ((probabilities <= cut) & (targets == 1)).sum() + ((probabilities > cut) & (targets == 0)).sum()
        for cut in cuts
    )
    chosen = choose_threshold(parse_threshold("10"), targets, probabilities, "yes").value
    assert (
        10 * ((probabilities <= chosen) & (targets == 1)).sum()
        + ((probabilities > chosen) & (targets == 0)).sum()
        <= cost
    )
    assert choose_threshold(parse_threshold("0.3"), targets, probabilities, "yes").value == 0.3
    assert "500 validation rows" in found.note
    of_folds = choose_threshold(parse_threshold("f1"), targets, probabilities, "yes", of_folds=True)
    assert "500 rows of the folds" in of_folds.note
    assert "slightly optimistic" in of_folds.note


def data(rows: int = 100, **extra: Any) -> Dataset:
    targets = np.arange(rows) % 4 // 3
    split = Split(np.arange(rows, dtype=np.float32)[:, None], targets)
    parts = np.array_split(np.arange(rows), 3)
    train, validation, test = (split.take(part) for part in parts)
    return Dataset("d", train, validation, test, classes=("a", "b"), extra=extra)


def test_folds_hold_every_row_once() -> None:
    whole = data(is_test_random=True)
    folds = split_folds(whole, 5)
    assert folds.test is None
    assert sorted(np.concatenate(folds.parts)) == list(range(100))
    for number in range(5):
        fold = fold_data(whole, folds, number)
        seen = [set(part.inputs[:, 0]) for part in (fold.train, fold.validation, fold.test)]
        assert sum(map(len, seen)) == len(set.union(*seen)) == 100
        assert fold.test is not None
        assert fold.test.targets.mean() == pytest.approx(0.25)


def test_published_test_rows_are_in_no_fold() -> None:
    folds = split_folds(data(), 5)
    assert folds.test is not None
    assert len(folds.rows) == 67


def test_a_group_stays_in_one_fold() -> None:
    groups = tuple(np.array_split(np.arange(100) // 4, 3))
    whole = data(is_test_random=True, groups=groups)
    folds = split_folds(whole, 5)
    owners = [set(np.arange(100)[part] // 4) for part in folds.parts]
    assert sum(map(len, owners)) == len(set.union(*owners)) == 25


def test_ordered_rows_have_no_folds() -> None:
    with pytest.raises(UsageError, match="newer"):
        split_folds(data(is_ordered=True), 5)
    with pytest.raises(UsageError, match="more rows"):
        split_folds(data(9, is_test_random=True), 9)


def test_rare_classes_are_in_no_fold() -> None:
    whole = data(is_test_random=True)
    whole.train.targets[:2] = 2
    folds = split_folds(dataclasses.replace(whole, classes=("a", "b", "c")), 5)
    assert folds.always.tolist() == [0, 1]
    assert not {0, 1} & set(np.concatenate(folds.parts))
