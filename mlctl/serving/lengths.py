"""Rows of different lengths: the model answers the rows of each length together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlctl.serving.payloads.request_error import bad_request, quote

Array = np.ndarray[Any, Any]


def has_uneven_rows(rows: Any) -> bool:
    """Whether an input has rows of different lengths: it is an object array of arrays then."""
    if isinstance(rows, Mapping):
        return any(_is_uneven(array) for array in rows.values())
    return _is_uneven(rows)


def predict_by_length(predict: Callable[[Any], Any], rows: Any) -> Any:
    """Return the predictions for rows of different lengths, each as if it had been sent alone, in the rows' order.

    Args:
        predict: Answers rows of equal lengths with an array, or with a dict of arrays by output name.
        rows: An object array of arrays, or a dict of arrays by input name, some of which are.

    Raises:
        RequestError: A row is empty.
    """
    named = rows if isinstance(rows, Mapping) else {"": rows}
    groups: dict[tuple[int, ...], list[int]] = {}
    uneven = [array for array in named.values() if _is_uneven(array)]
    for position, lengths in enumerate(zip(*(map(len, array) for array in uneven), strict=True)):
        groups.setdefault(lengths, []).append(position)
    check_no_empty_row(rows)
    answers = []
    for positions in groups.values():
        part = {name: _take(array, positions) for name, array in named.items()}
        answers.append(predict(part if isinstance(rows, Mapping) else part[""]))
    order = np.argsort(np.concatenate([np.array(positions) for positions in groups.values()]))
    if isinstance(answers[0], Mapping):
        return {name: _merge([np.asarray(answer[name]) for answer in answers], order) for name in answers[0]}
    return _merge([np.asarray(answer) for answer in answers], order)


def check_no_empty_row(rows: Any) -> None:
    """Raise RequestError if a row is an empty list."""
    for name, array in rows.items() if isinstance(rows, Mapping) else [("", rows)]:
        if _is_uneven(array):
            empty = next((number for number, row in enumerate(array) if not len(row)), None)
        else:
            empty = 0 if isinstance(array, np.ndarray) and array.size == 0 else None
        if empty is not None:
            subject = f"row {empty} of {quote(name)}" if name else f"row {empty}"
            raise bad_request(f"{subject} is empty", "send at least one entry")


def _is_uneven(array: Any) -> bool:
    return (
        isinstance(array, np.ndarray)
        and array.dtype == object
        and array.ndim == 1
        and array.size > 0
        and isinstance(array[0], np.ndarray)
    )


def _take(array: Array, positions: list[int]) -> Array:
    taken = array[positions]
    return np.stack(list(taken)) if _is_uneven(array) else taken


def _merge(answers: list[Array], order: Array) -> Array:
    """Return the rows of all answers in this order; rows of different shapes are an object array."""
    if len({answer.shape[1:] for answer in answers}) == 1:
        return np.concatenate(answers)[order]
    rows = np.empty(len(order), object)
    for number, row in enumerate(row for answer in answers for row in answer):
        rows[number] = row
    return rows[order]
