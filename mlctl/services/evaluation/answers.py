"""A model's answers in the terms of its outputs: labels with probabilities, values, shares of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.domain.outputs import DEFAULT_THRESHOLD, Output
from mlctl.domain.serving import Prediction
from mlctl.errors import BadDataError
from mlctl.services.evaluation.predictor import Answers, Array, PredictorInfo

MAX_VALUE_COLUMNS = 64  # numbers of a row that get a column each in a file
UNKNOWN = Output(kind="none")


def split_outputs(info: PredictorInfo, answers: Answers) -> list[tuple[Output, Array]]:
    """Return each output with its answers. An output of another program's model has no meaning but its numbers."""
    if not isinstance(answers, Mapping):
        return [(info.outputs[0] if len(info.outputs) == 1 else _guess(answers), answers)]
    known = {output.name: output for output in info.outputs}
    if len(answers) == len(known) == 1:
        return [(info.outputs[0], next(iter(answers.values())))]
    return [
        (known.get(name, Output(kind="none", name=name)), np.asarray(array))
        for name, array in answers.items()
    ]


def to_predictions(output: Output, answers: Array, targets: Any = None) -> list[Prediction]:
    """Return answers (n, …) in the output's terms; `targets` are as scores take them."""
    to_prediction = _KINDS[output.kind]
    truths = [None] * len(answers) if targets is None else [_truth(output, target) for target in targets]
    return [to_prediction(output, row, truth) for row, truth in zip(answers, truths, strict=True)]


def to_columns(output: Output, predictions: Sequence[Prediction], answers: Array) -> dict[str, list[Any]]:
    """Return the columns that a prediction file has for an output: named after it, if it has a name."""
    prefix = f"{output.name}_" if output.name else ""
    return {prefix + name: cells for name, cells in _columns(output, predictions, answers).items()}


def _columns(output: Output, predictions: Sequence[Prediction], answers: Array) -> dict[str, list[Any]]:
    if output.kind == "classes":
        return {
            "label": [prediction.label for prediction in predictions],
            "probability": [prediction.probability for prediction in predictions],
        }
    if output.kind == "labels":
        names = class_names(output, answers.shape[-1])
        return {
            "labels": [", ".join(prediction.labels or ()) for prediction in predictions],
            **{f"probability_{name}": answers[:, place].tolist() for place, name in enumerate(names)},
        }
    if output.kind == "sequence":
        return {"labels": [" ".join(prediction.labels or ()) for prediction in predictions]}
    if output.kind == "pixels":
        names = list((predictions[0].shares or {}).keys())
        return {
            f"share_{name}": [(prediction.shares or {})[name] for prediction in predictions] for name in names
        }
    if answers.ndim == 2 and 1 < answers.shape[1] <= MAX_VALUE_COLUMNS and answers.dtype.kind in "iufb":
        return {f"value_{place}": answers[:, place].tolist() for place in range(answers.shape[1])}
    return {"value": [prediction.value for prediction in predictions]}


def _guess(answers: Array) -> Output:
    """Return what the answers of a model without description are likely to be: several numbers are probabilities."""
    is_rows = answers.ndim == 2 and answers.shape[1] > 1 and answers.dtype.kind in "iufb"
    return Output(kind="classes") if is_rows else UNKNOWN


def _class_prediction(output: Output, row: Array, truth: Any) -> Prediction:
    row = np.atleast_1d(row)
    names = class_names(output, max(2, row.shape[-1]))
    if row.ndim != 1:
        raise BadDataError(
            f"the model answers rows of shape {row.shape} for classes",
            "declare the output's kind: pixels, sequence",
        )
    if len(row) <= 2:
        positive = float(row[-1])
        index, probability = (1, positive) if positive > output.threshold else (0, 1 - positive)
    else:
        index = int(row.argmax())
        probability = float(row[index])
    return Prediction(label=names[index], probability=probability, true_label=truth)


def _label_prediction(output: Output, row: Array, truth: Any) -> Prediction:
    row = np.atleast_1d(row)
    names = class_names(output, len(row))
    found = np.flatnonzero(row > DEFAULT_THRESHOLD)
    found = found[np.argsort(-row[found], kind="stable")]
    return Prediction(
        labels=tuple(names[int(index)] for index in found),
        probabilities=tuple(float(row[index]) for index in found),
        true_label=truth,
    )


def _sequence_prediction(output: Output, row: Array, truth: Any) -> Prediction:
    numbers, probabilities = _class_numbers(row)
    names = class_names(output, max(2, row.shape[-1]))
    return Prediction(
        labels=tuple(names[number] for number in numbers.ravel()),
        probabilities=tuple(map(float, probabilities.ravel())),
        true_label=truth,
    )


def _pixel_prediction(output: Output, row: Array, truth: Any) -> Prediction:
    numbers, _ = _class_numbers(row)
    names = class_names(output, max(2, row.shape[-1]))
    counts = np.bincount(numbers.ravel(), minlength=len(names))
    shares = {name: float(count) / max(1, numbers.size) for name, count in zip(names, counts, strict=True)}
    return Prediction(shape=numbers.shape, shares=shares)


def _value_prediction(output: Output, row: Any, truth: Any) -> Prediction:
    value = row.tolist() if isinstance(row, (np.ndarray, np.generic)) else row
    return Prediction(
        value=value[0] if isinstance(value, list) and len(value) == 1 else value, true_label=truth
    )


_KINDS = {
    "classes": _class_prediction,
    "labels": _label_prediction,
    "sequence": _sequence_prediction,
    "pixels": _pixel_prediction,
    "values": _value_prediction,
    "none": _value_prediction,
}


def _class_numbers(row: Array) -> tuple[Array, Array]:
    """Return the class of each pixel or step, and its probability; one number is that of the second of two classes."""
    if row.shape[-1] == 1:
        positive = row[..., 0]
        is_second = positive > DEFAULT_THRESHOLD
        return is_second.astype(np.int64), np.where(is_second, positive, 1 - positive)
    return row.argmax(axis=-1), row.max(axis=-1)


def class_names(output: Output, count: int) -> Sequence[str]:
    """Return the name of each class: its number, if it has none."""
    return [*output.classes, *(str(number) for number in range(len(output.classes), count))]


def _truth(output: Output, target: Any) -> str | tuple[str, ...] | None:
    if output.kind == "classes":
        number = int(target)
        return class_names(output, number + 1)[number]
    if output.kind == "labels":
        names = class_names(output, len(target))
        return tuple(names[int(index)] for index in np.flatnonzero(target))
    if output.kind == "sequence":
        numbers = np.asarray(target).ravel().astype(np.int64)
        names = class_names(output, int(numbers.max(initial=0)) + 1)
        return tuple(names[int(number)] if number >= 0 else "" for number in numbers)
    if output.kind == "values" and np.size(target) == 1:
        return f"{float(np.ravel(target)[0]):g}"
    if output.kind == "values" and np.size(target) <= MAX_VALUE_COLUMNS:
        return tuple(f"{float(number):g}" for number in np.ravel(target))
    return None
