"""What a model's answers to a split show, as numbers: the content of a run's evaluation.json.

It holds what plots and reports need, so that they can be made without the model and the data: confusions, ROC and
precision-recall curves, calibration, pairs of actual and predicted values, and the most wrong examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.adapters.estimators.probability_curves import probability_curve
from mlctl.domain.outputs import Output
from mlctl.scores import count_confusions, predicted_labels
from mlctl.services.evaluation.examples import InputsOf, describe_rows

FILE = "evaluation.json"  # artifact of a run
MAX_CLASSES = 500  # with more, confusions are left out
MAX_CURVES, MAX_POINTS = 6, 150  # of ROC and precision-recall
BINS = 10
MAX_PAIRS, MAX_COLUMNS = 1000, 6
MAX_EXAMPLES = 24  # of all outputs together
BLOCK_NUMBERS = 1_000_000  # of answers that are compared at once

Array = np.ndarray[Any, Any]
Scored = Sequence[tuple[Output, Array, Array]]  # outputs with targets as scores take them, and answers


def summarize(
    split: str, rows: int, scored: Scored, *, synthetic: bool = False, inputs_of: InputsOf | None = None
) -> dict[str, Any]:
    """Return the summary of a model's answers.

    Args:
        split: name of the split.
        rows: number of its rows.
        scored: outputs that have targets.
        synthetic: whether this is generated data.
        inputs_of: returns the raw inputs of some rows; None: the examples are not shown.
    """
    count = MAX_EXAMPLES // max(1, len(scored))
    return {
        "version": 1,
        "split": split,
        "rows": rows,
        "synthetic": synthetic,
        "outputs": [
            {
                "name": output.name,
                "kind": output.kind,
                "unit": output.unit,
                "classes": list(output.classes[:MAX_CLASSES]),
                **_numbers(output, targets, answers),
                "worst": _worst(output, targets, answers, count, inputs_of),
            }
            for output, targets, answers in scored
        ],
    }


def _numbers(output: Output, targets: Array, answers: Array) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if output.kind in ("classes", "pixels", "sequence") and len(output.classes) <= MAX_CLASSES:
        counts = count_confusions(output, targets, answers)
        cells = np.argwhere(counts > 0)
        found["confusions"] = [[int(row), int(column), int(counts[row, column])] for row, column in cells]
    if output.kind == "classes" and np.isfinite(answers).all():
        counted = targets >= 0
        found |= _class_curves(output, targets[counted].astype(np.int64), _probabilities(answers)[counted])
    if output.kind == "labels" and np.isfinite(answers).all():
        found |= _label_curves(output, targets == 1, answers.reshape(targets.shape))
    if output.kind == "values" and targets.ndim <= 2 and targets.size:
        found["values"] = _pairs(targets, answers)
    return found


def _probabilities(answers: Array) -> Array:
    """Return the probability of each class, (n, classes)."""
    answers = answers.reshape(len(answers), -1).astype(np.float64)
    return np.hstack([1 - answers, answers]) if answers.shape[1] == 1 else answers


def _class_curves(output: Output, targets: Array, answers: Array) -> dict[str, Any]:
    classes = answers.shape[1]
    if classes == 2:
        right, sure = targets == 1, answers[:, 1]
        what = f"of {output.classes[1]}" if len(output.classes) > 1 else ""
        return {"curves": _curves([(what, right, sure)]), "calibration": _calibration(right, sure)}
    counts = np.bincount(targets, minlength=classes)
    shown = [number for number in np.argsort(-counts, kind="stable")[:MAX_CURVES] if counts[number]]
    lines = [(str(output.classes[number]), targets == number, answers[:, number]) for number in sorted(shown)]
    is_target = targets[:, np.newaxis] == np.arange(classes)
    everything = ("all classes", is_target.ravel(), answers.ravel())
    right, sure = answers.argmax(axis=1) == targets, answers.max(axis=1)
    return {"curves": _curves([everything, *lines]), "calibration": _calibration(right, sure)}


def _label_curves(output: Output, known: Array, answers: Array) -> dict[str, Any]:
    shown = np.argsort(-known.sum(axis=0), kind="stable")[:MAX_CURVES]
    lines = [(str(output.classes[label]), known[:, label], answers[:, label]) for label in shown]
    everything = ("all labels", known.ravel(), answers.ravel())
    return {
        "curves": _curves([everything, *lines]),
        "calibration": _calibration(known.ravel(), answers.ravel()),
    }


def _curves(lines: Sequence[tuple[str, Array, Array]]) -> list[dict[str, Any]]:
    """Return the ROC and precision-recall curve of each (name, whether it is true, its probability)."""
    curves = []
    for name, is_true, probability in lines:
        if not is_true.any() or is_true.all():
            continue
        curve = probability_curve(is_true, probability)
        points = np.unique(np.linspace(0, len(curve.recall) - 1, MAX_POINTS).astype(int))
        curves.append(
            {
                "name": name,
                "auc": _rounded(curve.auc),
                "average_precision": _rounded(curve.average_precision),
                "false_positives": _list(curve.false_positives[points]),
                "recall": _list(curve.recall[points]),
                "precision": _list(curve.precision[points]),
            }
        )
    return curves


def _calibration(is_true: Array, probability: Array) -> dict[str, Any]:
    """Return (rows, mean probability, share that is true) of bins of probability, and the mean gap of the two."""
    places = np.clip((probability * BINS).astype(int), 0, BINS - 1)
    rows = np.bincount(places, minlength=BINS)
    used = rows > 0
    mean = np.bincount(places, weights=probability, minlength=BINS)[used] / rows[used]
    share = np.bincount(places, weights=is_true, minlength=BINS)[used] / rows[used]
    return {
        "bins": [[int(row), *pair] for row, *pair in zip(rows[used], _list(mean), _list(share), strict=True)],
        "error": _rounded(np.sum(rows[used] * np.abs(mean - share)) / max(1, len(probability))),
    }


def _pairs(targets: Array, answers: Array) -> list[dict[str, Any]]:
    """Return actual and predicted values of some rows by column, and the errors of all rows."""
    columns = targets.reshape(len(targets), -1)
    answers = answers.reshape(columns.shape)
    errors = np.abs(answers.astype(np.float64) - columns)
    rows = np.sort(np.random.default_rng(0).permutation(len(columns))[:MAX_PAIRS])
    return [
        {
            "mean_error": _rounded(errors[:, column].mean()),
            "median_error": _rounded(np.median(errors[:, column])),
            "actual": _list(columns[rows, column]),
            "predicted": _list(answers[rows, column]),
        }
        for column in range(min(MAX_COLUMNS, columns.shape[1]))
    ]


def _worst(
    output: Output, targets: Array, answers: Array, count: int, inputs_of: InputsOf | None
) -> list[dict[str, Any]]:
    """Return the rows that the model answers worst, with what it answers and what is right."""
    errors = _errors(output, targets, answers)
    order = np.argsort(-np.nan_to_num(errors, nan=np.inf), kind="stable")[:count]
    rows = np.array([row for row in order if not errors[row] <= 0], np.int64)
    inputs = describe_rows(inputs_of, rows)
    return [
        {
            "row": int(row),
            **_answer(output, targets[row], answers[row]),
            "error": _rounded(errors[row]),
            **shown,
        }
        for row, shown in zip(rows, inputs, strict=True)
    ]


def _errors(output: Output, targets: Array, answers: Array) -> Array:
    """Return how wrong each row's answer is; 0 for one that is right."""
    count = len(targets)
    if output.kind == "classes":
        answers = _probabilities(answers)
        labels = predicted_labels(answers, output.threshold)
        is_right = (labels == targets) | (targets < 0)
        return np.where(is_right, 0.0, answers[np.arange(count), labels])
    if output.kind in ("pixels", "sequence"):
        errors = np.empty(count)
        for row in range(count):
            answer = answers[row]
            labels = predicted_labels(answer if answer.ndim > targets[row].ndim else answer[..., np.newaxis])
            counted = targets[row] >= 0
            errors[row] = np.mean(labels[counted] != targets[row][counted]) if counted.any() else 0.0
        return errors
    answers = answers.reshape(targets.shape)
    errors = np.empty(count)
    size = max(1, BLOCK_NUMBERS // max(1, targets[:1].size))  # rows: their differences take memory
    for start in range(0, count, size):
        block = slice(start, start + size)
        apart = np.abs(answers[block].astype(np.float64) - targets[block])
        errors[block] = apart.reshape(len(apart), -1).mean(axis=1)
    if output.kind == "labels":
        errors[((answers > 0.5) == (targets == 1)).all(axis=1)] = 0
    return errors


def _answer(output: Output, target: Any, answer: Any) -> dict[str, Any]:
    names = output.classes
    if output.kind == "classes":
        probabilities = _probabilities(np.asarray(answer)[np.newaxis])[0]
        label, actual = int(predicted_labels(probabilities, output.threshold)), int(target)
        return {
            "actual": _name(names, actual),
            "predicted": _name(names, label),
            "probability": _rounded(probabilities[label]),
            "actual_probability": _rounded(probabilities[actual]),
        }
    if output.kind == "labels":
        answer = np.reshape(answer, np.shape(target))
        return {
            "actual": ", ".join(names[number] for number in np.flatnonzero(target == 1)) or "none",
            "predicted": ", ".join(
                f"{names[number]} {answer[number]:.0%}" for number in np.flatnonzero(answer > 0.5)
            )
            or "none",
        }
    if output.kind == "values" and np.size(target) <= MAX_COLUMNS:
        return {
            "actual": ", ".join(map(_format, np.ravel(target))),
            "predicted": ", ".join(map(_format, np.ravel(answer))),
        }
    return {}


def _name(names: Sequence[str], number: int) -> str:
    return str(names[number]) if 0 <= number < len(names) else str(number)


def _format(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def _list(values: Array) -> list[float | None]:
    return [_rounded(value) for value in values]


def _rounded(value: Any) -> float | None:
    """Return a number with six significant digits; None for NaN and infinities, which JSON does not have."""
    return float(f"{float(value):.6g}") if np.isfinite(value) else None


def confusion_counts(entry: Mapping[str, Any]) -> Array:
    """Return the confusions of an output of evaluation.json as an array (classes, classes)."""
    size = len(entry["classes"])
    counts = np.zeros((size, size), np.int64)
    for row, column, count in entry["confusions"]:
        counts[row, column] = count
    return counts
