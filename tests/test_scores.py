"""Scores are scikit-learn's, of every kind of output, and no shape broadcasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from mlctl import scores
from mlctl.domain.outputs import Output, Outputs, classes, labels, pixels, sequence, values
from mlctl.errors import BadDataError
from mlctl.scores import compute_scores, score_outputs, score_split

pytestmark = pytest.mark.unit

AB, ABC = ("a", "b"), ("a", "b", "c")
NONE = Output(kind="none")


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_two_classes_have_an_area_under_the_curve() -> None:
    targets, predictions = rng().integers(0, 2, 80), rng().random((80, 1), np.float32)
    found = score_outputs((classes(*AB),), targets, predictions)
    positive = predictions[:, 0].astype(float)
    assert found == pytest.approx(
        {
            **compute_scores(targets, predictions, 2),
            "auc": metrics.roc_auc_score(targets, positive),
            "average_precision": metrics.average_precision_score(targets, positive),
            "log_loss": metrics.log_loss(targets, positive),
            "brier": metrics.brier_score_loss(targets, positive),
        }
    )
    assert found["accuracy"] == metrics.accuracy_score(targets, predictions > 0.5)
    both = np.concatenate((1 - predictions, predictions), axis=1)
    assert score_outputs((classes(*AB),), targets, both) == pytest.approx(found)
    assert "auc" not in score_outputs((classes(*AB),), np.zeros(80, int), predictions)


@pytest.mark.parametrize(
    "reshape",
    [
        lambda targets: targets[:, None],
        lambda targets: targets[:, None].astype(np.uint8),
        lambda targets: np.eye(3, dtype=np.float32)[targets],
        lambda targets: targets.tolist(),
        lambda targets: np.array(ABC)[targets],
        lambda targets: [[ABC[target]] for target in targets],
        lambda targets: targets + 1,
    ],
)
def test_every_form_of_class_targets_has_the_same_scores(reshape: Any) -> None:
    targets, predictions = rng().integers(0, 3, 60), rng().random((60, 3), np.float32)
    expected = compute_scores(targets, predictions, 3)
    assert expected["accuracy"] == metrics.accuracy_score(targets, predictions.argmax(axis=1))
    shares = predictions / predictions.sum(axis=1, keepdims=True)
    losses = {
        "log_loss": metrics.log_loss(targets, shares),
        "brier": float(np.square(shares - np.eye(3)[targets]).sum(axis=1).mean()),
    }
    found = score_split((classes(*ABC),), reshape(targets), predictions)
    assert found == pytest.approx({**expected, **losses}, rel=1e-5)


def test_a_threshold_changes_labels_and_not_probabilities() -> None:
    targets, predictions = rng().integers(0, 2, 80), rng().random((80, 1), np.float32)
    usual = score_outputs((classes(*AB),), targets, predictions)
    output = dataclasses.replace(classes(*AB), threshold=0.2)
    both = np.concatenate((1 - predictions, predictions), axis=1)
    for answers in (predictions, both, predictions[:, 0]):
        found = score_outputs((output,), targets, answers)
        assert found["recall"] == metrics.recall_score(targets, predictions[:, 0] > 0.2)
        assert found["log_loss"] == pytest.approx(usual["log_loss"])
    assert Output.from_json(output.to_json()) == output
    assert "threshold" not in classes(*AB).to_json()


def test_labels() -> None:
    targets, predictions = rng().integers(0, 2, (70, 4)), rng().random((70, 4))
    targets[:, 2] = 0  # a label that does not occur has no average precision
    answers = predictions > 0.5
    found = score_outputs((labels("p", "q", "r", "s"),), targets, predictions)
    occurring = [0, 1, 3]
    assert found == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(targets, answers),
            "micro_f1": metrics.f1_score(targets, answers, average="micro"),
            "macro_f1": metrics.f1_score(targets, answers, average="macro", zero_division=0),
            "average_precision": metrics.average_precision_score(
                targets[:, occurring], predictions[:, occurring]
            ),
        }
    )
    single = score_outputs((labels("p"),), targets[:, 0], predictions[:, :1])
    assert single["micro_f1"] == pytest.approx(metrics.f1_score(targets[:, 0], answers[:, 0]))


def test_one_value() -> None:
    targets = rng().normal(size=90)
    predictions = (targets + rng().normal(size=90)).astype(np.float32)[:, None]
    found = score_outputs((values(),), targets, predictions)
    assert found == compute_scores(targets, predictions, 0)
    for form in (targets[:, None], targets.tolist()):
        assert score_split((values(),), form, predictions) == found
    assert score_split((values(),), targets, predictions[:, 0]) == found


def test_several_values_have_means_and_scores_of_their_own() -> None:
    targets = rng().normal(size=(90, 2))
    predictions = targets + rng().normal(size=(90, 2))
    found = score_outputs((values(),), targets, predictions)
    assert found["mae"] == pytest.approx((found["mae_0"] + found["mae_1"]) / 2)
    assert found["rmse"] == metrics.root_mean_squared_error(targets, predictions)
    assert found["r2"] == metrics.r2_score(targets, predictions)
    assert found["rmse_1"] == metrics.root_mean_squared_error(targets[:, 1], predictions[:, 1])
    assert len(found) == 9
    many = score_outputs((values(),), np.zeros((5, 24)), np.ones((5, 24)))
    assert many.keys() == {"mae", "rmse", "r2"}


def test_reconstructed_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = rng().random((7, 6, 5, 1), np.float32)
    predictions = rng().random((7, 6, 5, 1), np.float32)
    monkeypatch.setattr(scores, "CHUNK", 64)
    errors = predictions.astype(np.float64) - targets
    assert score_outputs((values(),), targets, predictions) == pytest.approx(
        {"mae": np.abs(errors).mean(), "rmse": np.sqrt((errors**2).mean())}
    )
    without_channel = score_outputs((values(),), targets[..., 0], predictions)
    assert without_channel == score_outputs((values(),), targets, predictions)


def test_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, predictions = rng().integers(0, 3, (6, 8, 9)), rng().random((6, 8, 9, 4), np.float32)
    found = score_outputs((pixels("a", "b", "c@", "never"),), targets, predictions)
    known, answers = targets.ravel(), predictions.argmax(axis=-1).ravel()
    each = metrics.jaccard_score(known, answers, average=None, labels=range(4))
    assert found == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(known, answers),
            "iou": metrics.jaccard_score(known, answers, average="macro"),
            "dice": metrics.f1_score(known, answers, average="macro"),
            "iou_a": each[0],
            "iou_b": each[1],
            "iou_c_": each[2],
        }
    )
    monkeypatch.setattr(scores, "CHUNK", 100)
    assert score_outputs((pixels("a", "b", "c@", "never"),), targets, predictions) == found


def test_masks_of_two_classes_and_ignored_pixels() -> None:
    targets = rng().integers(0, 2, (6, 8, 9, 1)).astype(np.uint8)
    predictions = rng().random((6, 8, 9, 1), np.float32)
    found = score_split((pixels("no", "yes"),), targets, predictions)
    yes, answers = targets.ravel(), predictions.ravel() > 0.5
    assert found["iou_yes"] == pytest.approx(metrics.jaccard_score(yes, answers))
    assert found == score_split((pixels("no", "yes"),), targets[..., 0], predictions[..., 0])
    weights = rng().integers(0, 2, (6, 8, 9)).astype(np.float32)
    counted = weights.ravel() > 0
    weighted = score_split((pixels("no", "yes"),), targets, predictions, weights=weights)
    assert weighted["accuracy"] == metrics.accuracy_score(yes[counted], answers[counted])


def test_sequences() -> None:
    targets = np.array([[0, 1, 2], [2, 2, -1], [1, 1, 1]])
    predictions = np.eye(3)[[[0, 1, 1], [2, 2, 0], [1, 1, 1]]]
    found = score_outputs((sequence(*ABC),), targets, predictions)
    assert found == {"accuracy": 7 / 8, "exact_match": 2 / 3}
    padding = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1]])
    assert score_outputs((sequence(*ABC),), targets, predictions, padding) == {
        "accuracy": 1,
        "exact_match": 1,
    }
    rows = np.array([1.0, 0.0, 2.0])  # weights of rows do not change scores, as in Keras's metrics
    assert score_outputs((sequence(*ABC),), targets, predictions, rows) == found


def test_several_outputs_have_prefixes_and_an_output_without_targets_has_no_score() -> None:
    outputs: Outputs = (classes(*AB, name="priority"), values(name="price"), Output(kind="none", name="code"))
    targets = (["a", "b", "b"], [[1.0], [2.0], [3.0]])
    predictions = {
        "priority": np.array([[0.1], [0.9], [0.2]]),
        "price": np.ones((3, 1)),
        "code": np.ones((3, 8)),
    }
    found = score_split(outputs, targets, predictions)
    assert found["priority_accuracy"] == pytest.approx(2 / 3)
    assert found["price_mae"] == 1.0
    assert {name.partition("_")[0] for name in found} == {"priority", "price"}
    assert score_split((NONE,), None, np.ones((3, 8))) == {}


def test_scores_of_a_recipe_are_added_or_replace_others() -> None:
    shapes: list[Any] = []

    def own(targets: Any, predictions: Any) -> Mapping[str, Any]:
        shapes.append((targets.shape, predictions.shape))
        return {"bias": (predictions - targets).mean(), "mae": np.float32(7), "top@2": [0.5]}

    targets = np.array([1.0, 2.0, 3.0])
    found = score_split((values(),), targets, targets[:, None] + 1, own=own)
    assert found == {"mae": 7.0, "rmse": 1.0, "r2": -0.5, "bias": 1.0, "top_2": 0.5}
    assert shapes == [((3, 1), (3, 1))]  # else the difference would have 9 numbers
    for wrong, message in (({"a": [1, 2]}, "an array of shape"), ([1], "returned list")):
        with pytest.raises(BadDataError, match=message):
            score_split((values(),), targets, targets[:, None], own=lambda *_, wrong=wrong: wrong)


def test_a_recipe_scores_outputs_without_scores_of_ours() -> None:
    # such as quantiles, which the recipe's own loss compares with one value
    targets, quantiles = np.array([1.0, 2.0]), np.array([[0.0, 2.0], [3.0, 4.0]])
    covered = score_split(
        (NONE,), targets, quantiles, own=lambda y, q: {"coverage": ((q[:, 0] <= y) & (y <= q[:, 1])).mean()}
    )
    assert covered == {"coverage": 0.5}
    assert score_split((NONE,), None, quantiles, own=lambda y, q: {"size": q.size}) == {"size": 4.0}
    outputs = (values(name="price"), Output(kind="none", name="code"))
    given: dict[str, Any] = {}

    def own(found: Any, _: Any) -> Mapping[str, float]:
        given.update(found)
        return {}

    score_split(outputs, {"price": targets, "code": "kept"}, {"price": targets, "code": quantiles}, own=own)
    assert given["code"] == "kept"


@pytest.mark.parametrize(
    ("output", "targets", "shape", "message"),
    [
        (
            classes(*ABC),
            [0, 1, 2],
            (3, 2),
            r"the model answers an array of shape \(3, 2\), and its targets need \(n, 3\)",
        ),
        (classes(*ABC), [0, 1, 2], (3, 1), r"need \(n, 3\)"),
        (labels(*ABC), np.zeros((3, 3)), (3, 1), r"need \(n, 3\)"),
        (values(), [1.0, 2.0, 3.0], (3, 3), r"need \(n,\)"),
        (values(), np.zeros((3, 2)), (3, 1), r"need \(n, 2\)"),
        (pixels(*ABC), np.zeros((3, 4, 4), int), (3, 2, 2, 3), r"need \(n, 4, 4, 3\)"),
        (sequence(*ABC), np.zeros((3, 4), int), (3, 4), r"need \(n, 4, 3\)"),
        (values(), [1.0, 2.0, 3.0], (4, 1), "the model answers 4 rows for 3 targets"),
    ],
)
def test_answers_of_another_shape_are_refused(
    output: Output, targets: Any, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(BadDataError, match=message):
        score_split((output,), targets, np.zeros(shape))


def test_missing_values_in_targets_are_named() -> None:
    with pytest.raises(BadDataError, match="targets: 1 are missing or infinite, the first in row 1"):
        score_split((values(),), np.array([1.0, np.nan]), np.zeros((2, 1)))


def test_a_model_that_diverged_has_scores_that_are_no_numbers() -> None:
    nothing = np.full((4, 1), np.nan, np.float32)
    assert np.isnan(score_outputs((values(),), np.arange(4.0), nothing)["mae"])
    assert np.isnan(score_outputs((classes(*AB),), np.array([0, 1, 1, 0]), nothing)["auc"])
    found = score_outputs((labels(*AB),), np.eye(2, dtype=int)[[0, 1, 1, 0]], np.full((4, 2), np.nan))
    assert np.isnan(found["average_precision"])


def test_reports_have_a_row_for_each_class() -> None:
    masks = rng().integers(0, 3, (4, 5, 5))
    report = scores.report_answers(pixels(*ABC), masks, np.eye(3)[masks])
    assert [line.split()[:2] for line in report.splitlines()[2:]] == [[name, "1.0000"] for name in ABC]
    report = scores.report_answers(labels("p"), np.array([[1], [0]]), np.array([[0.9], [0.8]]))
    assert "not p" in report
    assert scores.report_answers(values(), np.zeros(3), np.zeros((3, 1))) == ""
