"""Answers that explain themselves: POST /invocations?details=true.

    {"model": "Digits", "version": "3", "request_id": "…",
     "outputs": [{"name": "", "kind": "classes", "classes": ["0", …], "unit": ""}],
     "predictions": [{"label": "7", "probability": 0.98, "probabilities": {"0": 0.001, …}}]}

`predictions` has one entry per row; for a model of several outputs, such a list for each output by its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson

from mlctl.domain.outputs import DEFAULT_THRESHOLD, Output, Outputs
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.http_messages import Request
from mlctl.serving.invocations import Encode
from mlctl.serving.payloads.answers import to_json_types
from mlctl.serving.payloads.request_error import bad_request, quote

PARAMETER = "details"

Array = np.ndarray[Any, Any]
Details = list[dict[str, Any]]


class DetailedAnswers:
    """Encodes answers with what they mean, if a request asks for it."""

    def __init__(self, served: ServedVersion, outputs: Outputs) -> None:
        self._served = served
        self._outputs = outputs
        self._described = [
            {"name": output.name, "kind": output.kind, "classes": output.classes, "unit": output.unit}
            | ({} if output.threshold == DEFAULT_THRESHOLD else {"threshold": output.threshold})
            for output in outputs
        ]

    def encoder(self, request: Request) -> Encode | None:
        """Return the function that encodes the answers to a request; None for MLflow's form.

        Raises RequestError if `details` is neither true nor false.
        """
        if not request.query:
            return None
        value = request.parameter(PARAMETER).lower()
        if value in ("", "false", "0"):
            return None
        if value not in ("true", "1"):
            raise bad_request(f"details is {quote(value)}", "send ?details=true")
        return partial(self.encode, request_id=request.request_id)

    def encode(self, answers: Any, *, request_id: str) -> bytes:
        """Return the body of a detailed answer."""
        document = {
            "model": self._served.name,
            "version": self._served.version,
            "request_id": request_id,
            "outputs": self._described,
            "predictions": explain(answers, self._outputs),
        }
        try:
            return orjson.dumps(document)
        except orjson.JSONEncodeError:  # a whole number of more than 64 bits
            return json.dumps(document).encode()


def explain(answers: Any, outputs: Outputs) -> Details | dict[str, Details]:
    """Return each row's answer in the terms of its output; by the outputs' names if there are several."""
    if not isinstance(answers, Mapping):
        return _explain_output(answers, outputs[0] if len(outputs) == 1 else None)
    if len(answers) == len(outputs) == 1:
        return _explain_output(next(iter(answers.values())), outputs[0])
    by_name = {output.name: output for output in outputs}
    return {str(name): _explain_output(values, by_name.get(str(name))) for name, values in answers.items()}


def _explain_output(answers: Any, output: Output | None) -> Details:
    if output is None or not isinstance(answers, np.ndarray) or answers.dtype.kind not in "biuf":
        return _values(answers, output)
    explain_kind: Callable[[Array, Output], Details] = {
        "classes": _classes,
        "labels": _labels,
        "sequence": _sequence,
        "pixels": _pixels,
    }.get(output.kind, _values)
    dimensions = {"classes": (1, 2), "labels": (2,)}.get(output.kind, range(2, 9))
    if explain_kind is not _values and answers.ndim not in dimensions:
        return _values(answers, output)
    return explain_kind(answers, output)


def _classes(answers: Array, output: Output) -> Details:
    probabilities = _of_both(answers.reshape(len(answers), -1))
    names = class_names(output, probabilities.shape[1])
    rows = probabilities.tolist()
    return [
        {"label": names[best], "probability": row[best], "probabilities": dict(zip(names, row, strict=True))}
        for row, best in zip(rows, _best(probabilities, output), strict=True)
    ]


def _best(probabilities: Array, output: Output) -> list[int]:
    """Return the class number of each row; of two classes, the output's threshold decides."""
    is_binary = probabilities.shape[1] == 2
    numbers: list[int] = (
        (probabilities[:, 1] > output.threshold).astype(int) if is_binary else probabilities.argmax(axis=1)
    ).tolist()
    return numbers


def _labels(answers: Array, output: Output) -> Details:
    names = class_names(output, answers.shape[1])
    return [
        {
            "labels": [name for name, share in zip(names, row, strict=True) if share > DEFAULT_THRESHOLD],
            "probabilities": dict(zip(names, row, strict=True)),
        }
        for row in answers.tolist()
    ]


def _sequence(answers: Array, output: Output) -> Details:
    probabilities = _of_both(answers)
    names = class_names(output, probabilities.shape[-1])
    best, highest = probabilities.argmax(axis=-1), probabilities.max(axis=-1)
    return [
        {
            "labels": [names[number] for number in numbers.ravel().tolist()],
            "probabilities": shares.ravel().tolist(),
        }
        for numbers, shares in zip(best, highest, strict=True)
    ]


def _pixels(answers: Array, output: Output) -> Details:
    probabilities = _of_both(answers)
    names = class_names(output, probabilities.shape[-1])
    details = []
    for numbers in probabilities.argmax(axis=-1):
        shares = np.bincount(numbers.ravel(), minlength=len(names)) / max(1, numbers.size)
        details.append(
            {"shape": list(numbers.shape), "shares": dict(zip(names, shares.tolist(), strict=True))}
        )
    return details


def _values(answers: Any, output: Output | None) -> Details:
    is_numeric = isinstance(answers, np.ndarray) and answers.dtype.kind in "biuf"
    rows = answers.tolist() if is_numeric else to_json_types(answers)
    unit = {"unit": output.unit} if output is not None and output.unit else {}
    return [
        {"value": row[0] if isinstance(row, list) and len(row) == 1 else row, **unit}
        for row in (rows if isinstance(rows, list) else [rows])
    ]


def _of_both(probabilities: Array) -> Array:
    """Return the probabilities of two classes if there is only that of the second one."""
    if probabilities.shape[-1] != 1:
        return probabilities
    return np.concatenate([1 - probabilities, probabilities], axis=-1)


def class_names(output: Output, count: int) -> Sequence[str]:
    """Return the name of each class: its number, if it has none of its own."""
    names = [*output.classes[:count], *(str(number) for number in range(len(output.classes), count))]
    return names if len(set(names)) == count else [str(number) for number in range(count)]
