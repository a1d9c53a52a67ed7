"""evaluation.json: what a model's answers show, as numbers, and its most wrong examples."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics

from mlctl.domain.outputs import classes, labels, pixels, values
from mlctl.services.evaluation.examples import describe
from mlctl.services.evaluation.summary import confusion_counts, summarize

pytestmark = pytest.mark.unit

RNG = np.random.default_rng(0)


def only_output(output: Any, targets: Any, answers: Any, **options: Any) -> dict[str, Any]:
    found = summarize("test", len(targets), [(output, targets, answers)], **options)
    (entry,) = json.loads(json.dumps(found, allow_nan=False))["outputs"]
    return dict(entry)


def test_curves_of_two_classes_are_those_of_scikit_learn() -> None:
    targets, answers = RNG.integers(0, 2, 400), RNG.random((400, 1)).round(2)  # with ties
    entry = only_output(classes("no", "yes"), targets, answers)
    (curve,) = entry["curves"]
    assert curve["auc"] == pytest.approx(metrics.roc_auc_score(targets, answers[:, 0]), abs=1e-4)
    expected = metrics.average_precision_score(targets, answers[:, 0])
    assert curve["average_precision"] == pytest.approx(expected, abs=1e-4)
    assert confusion_counts(entry).tolist() == metrics.confusion_matrix(targets, answers[:, 0] > 0.5).tolist()
    assert sum(rows for rows, _, _ in entry["calibration"]["bins"]) == 400


def test_the_most_certain_errors_come_first_with_their_inputs() -> None:
    answers = np.array([[0.1, 0.9], [0.99, 0.01], [0.3, 0.7], [0.6, 0.4]])
    rows = pd.DataFrame({"town": ["A", "B", "C", None], "rooms": [1, 2.5, np.nan, 4]})
    entry = only_output(
        classes("no", "yes"), np.array([1, 1, 0, 1]), answers, inputs_of=lambda chosen: rows.iloc[chosen]
    )
    assert [example["row"] for example in entry["worst"]] == [1, 2, 3]
    first = entry["worst"][0]
    assert (first["predicted"], first["probability"], first["actual_probability"]) == ("no", 0.99, 0.01)
    assert [example["input"]["row"] for example in entry["worst"]] == [
        {"town": "B", "rooms": "2.5"},
        {"town": "C", "rooms": ""},
        {"town": "", "rooms": "4"},
    ]


def test_errors_of_values_labels_and_pixels() -> None:
    entry = only_output(values("m"), np.array([1.0, 2, 3]), np.array([[1.0], [np.nan], [9]]))
    assert [example["row"] for example in entry["worst"]] == [1, 2]  # NaN is the worst answer
    assert entry["values"][0]["predicted"] == [1, None, 9]
    known, found = np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.2], [0.8, 0.1]])
    assert only_output(labels("a", "b"), known, found)["worst"][0]["predicted"] == "a 80%"
    masks = RNG.integers(0, 3, (4, 5, 5))
    right = np.eye(3)[masks]
    right[2] = right[2][..., ::-1]
    assert [example["row"] for example in only_output(pixels("a", "b", "c"), masks, right)["worst"]] == [2]


def test_a_thousand_classes_have_no_confusions() -> None:
    names = [str(number) for number in range(1000)]
    entry = only_output(classes(*names), np.arange(3), np.eye(3, 1000))
    assert "confusions" not in entry
    assert entry["worst"] == []


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (RNG.random((8, 8)), "picture"),
        (RNG.integers(0, 255, (200, 300, 3), np.uint8), "picture"),
        ("a text", "text"),
        (np.array("a text"), "text"),
        ({"town": "A", "rooms": 3}, "row"),
        ({"picture": RNG.random((8, 8)), "flags": np.ones(3)}, "parts"),
        (np.array([1.0, np.nan]), "numbers"),
        (np.float32(3), "numbers"),
    ],
)
def test_inputs_are_described_by_their_kind(value: Any, kind: str) -> None:
    found = describe(value)
    assert kind in found
    json.dumps(found, allow_nan=False)
    if kind == "picture":
        with Image.open(io.BytesIO(base64.b64decode(found["picture"]))) as image:
            assert max(image.size) <= 96
