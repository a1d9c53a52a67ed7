"""What is measured of each row of an input or answer: one number or one category per row and feature.

Training and the endpoint measure the same features, so that drift can compare them:

| kind | features |
| --- | --- |
| number | the value |
| category | the value, as text |
| identifier | number of characters: nearly every row has a value of its own |
| text | number of different words, share of words that are unknown |
| picture | brightness (mean), contrast (standard deviation), and height and width if they differ |
| array | each position of a short row; else mean, spread, share of zeros, and length if it differs |
| label | the most probable class, and its probability |
| labels | for each label, whether it applies |
| areas | for each class, its share of the pixels or steps |
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.domain.outputs import DEFAULT_THRESHOLD

Array = np.ndarray[Any, Any]
# values by feature: float64 with NaN for a missing value, or objects with None
Features = dict[str, Array]

LONGEST_ROW = 64  # numbers of a row that are features each
MOST_NAMES = 50  # labels or classes that are features each
SMALLEST_PICTURE = 8  # pixels of a side
MOST_TEXT = 20_000  # characters of a text that count
MOST_CATEGORIES = 50  # more different values of few rows each are no categories, but identifiers
TEXT_WORDS = 4  # average number of words from which values are texts
_WORD = re.compile(r"\w+")
_NOTHING = ("NAType", "NaTType")  # classes of pandas


def kind_of(values: Array) -> str:
    """Return the kind of an input's values: (n,), or (n, …) for arrays and pictures."""
    if values.dtype.kind in "iufb" and values.ndim == 1:
        return "category" if values.dtype.kind == "b" else "number"
    if values.ndim > 1 and values.dtype.kind in "iufb":
        return "picture" if _are_pictures(values) else "array"
    filled = [value for value in values.ravel().tolist() if not is_missing(value)]
    if filled and all(isinstance(value, (list, np.ndarray)) for value in filled):
        first = np.asarray(filled[0])
        return "picture" if first.ndim >= 2 and _are_pictures(first[np.newaxis]) else "array"
    if filled and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in filled):
        return "number"
    return _kind_of_texts(filled)


def measure(kind: str, values: Any, given: Mapping[str, Any]) -> Features:
    """Return the features of rows; `given` holds what their kind needs: vocabulary, classes, positions.

    Raises ValueError if the rows do not have this kind.
    """
    return _MEASURES[kind](values, given)


def as_text(value: Any) -> str:
    """Return a category as text, written as JSON writes it."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def is_missing(value: Any) -> bool:
    """Whether a cell has no value: None, NaN, NaT, or pandas' NA."""
    is_nan = isinstance(value, float) and math.isnan(value)
    return bool(value is None or is_nan or type(value).__name__ in _NOTHING)


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return _WORD.findall(text[:MOST_TEXT].lower())


def _kind_of_texts(filled: Sequence[Any]) -> str:
    texts = [as_text(value) for value in filled]
    distinct = len(set(texts))
    if not texts or distinct <= max(2, min(MOST_CATEGORIES, len(texts) // 4)):
        return "category"
    words = sum(text.count(" ") + 1 for text in texts) / len(texts)
    if words >= TEXT_WORDS:
        return "text"
    return "category" if distinct <= len(texts) / 4 else "identifier"


def _are_pictures(values: Array) -> bool:
    """Whether arrays (n, …) are likely to be pictures: large enough, with at most four channels."""
    shape = values.shape[1:]
    if len(shape) == 3:
        return bool(min(shape[0], shape[-1]) <= 4 and sorted(shape)[1] >= SMALLEST_PICTURE)
    return len(shape) == 2 and min(shape) >= SMALLEST_PICTURE and bool(values.min(initial=0) >= 0)


def _measure_number(values: Any, given: Mapping[str, Any]) -> Features:
    array = np.asarray(values)
    if array.dtype.kind in "iufb":
        return {"": array.reshape(len(array)).astype(np.float64)}
    return {"": np.array([_to_float(value) for value in array.ravel()], np.float64)}


def _to_float(value: Any) -> float:
    if is_missing(value):
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def _measure_category(values: Any, given: Mapping[str, Any]) -> Features:
    return {"": _texts(values)}


def _measure_identifier(values: Any, given: Mapping[str, Any]) -> Features:
    lengths = [np.nan if text is None else len(text) for text in _texts(values)]
    return {"length": np.array(lengths, np.float64)}


def _measure_text(values: Any, given: Mapping[str, Any]) -> Features:
    """Count different words: those of a vocabulary alone if training has seen no others."""
    known, counts_unknown = given["known"], given["counts_unknown"]
    lengths, unknown = [], []
    for text in _texts(values):
        words = set(split_words(text)) if text is not None else set()
        found = len(words & known)
        is_empty = text is None or not words
        lengths.append(np.nan if text is None else float(len(words) if counts_unknown else found))
        unknown.append(np.nan if is_empty else 1 - found / len(words))
    features = {"words": np.array(lengths, np.float64)}
    return features | ({"unknown words": np.array(unknown, np.float64)} if counts_unknown else {})


def _texts(values: Any) -> Array:
    cells = np.asarray(values, dtype=object).ravel()
    return np.array([None if is_missing(cell) else as_text(cell) for cell in cells], dtype=object)


def _measure_picture(values: Any, given: Mapping[str, Any]) -> Features:
    features: Features
    if isinstance(values, np.ndarray) and values.dtype != object:
        flat = values.reshape(len(values), -1).astype(np.float32)
        features = {"brightness": flat.mean(axis=1), "contrast": flat.std(axis=1)}
    else:
        rows = [np.asarray(value, np.float32) for value in values]
        features = {
            "brightness": np.array([row.mean() for row in rows]),
            "contrast": np.array([row.std() for row in rows]),
            "height": np.array([row.shape[0] for row in rows]),
            "width": np.array([row.shape[1] for row in rows]),
        }
    return {name: part.astype(np.float64) for name, part in features.items()}


def _measure_array(values: Any, given: Mapping[str, Any]) -> Features:
    if isinstance(values, np.ndarray) and values.dtype != object:
        flat = values.reshape(len(values), -1)
        if flat.shape[1] <= LONGEST_ROW:
            return {str(place): flat[:, place].astype(np.float64) for place in range(flat.shape[1])}
        flat = flat.astype(np.float32)
        features = {"mean": flat.mean(axis=1), "spread": flat.std(axis=1), "zeros": (flat == 0).mean(axis=1)}
        return {name: part.astype(np.float64) for name, part in features.items()}
    rows = [np.asarray(value).ravel() for value in values]
    if any(row.dtype.kind not in "iufb" for row in rows if row.size):
        return {"length": np.array([len(row) for row in rows], np.float64)}
    return {
        "length": np.array([len(row) for row in rows], np.float64),
        "mean": np.array([row.mean() if row.size else np.nan for row in rows], np.float64),
    }


def _measure_label(values: Any, given: Mapping[str, Any]) -> Features:
    answers = np.asarray(values, np.float64)
    answers = answers.reshape(len(answers), -1)
    if answers.shape[1] <= 2:
        positive = answers[:, -1]
        numbers = (positive > given.get("threshold", DEFAULT_THRESHOLD)).astype(int)
        probabilities, count = np.where(numbers, positive, 1 - positive), 2
    else:
        numbers, probabilities, count = answers.argmax(axis=1), answers.max(axis=1), answers.shape[1]
    names = np.array(class_names(given, count), dtype=object)
    return {"": names[numbers], "probability": probabilities}


def _measure_labels(values: Any, given: Mapping[str, Any]) -> Features:
    answers = np.asarray(values, np.float64)
    names = class_names(given, answers.shape[-1])[:MOST_NAMES]
    applies = answers.reshape(len(answers), -1) > 0.5
    return {name: _texts(applies[:, place]) for place, name in enumerate(names)}


def _measure_areas(values: Any, given: Mapping[str, Any]) -> Features:
    answers = np.asarray(values)
    if answers.shape[-1] == 1:
        numbers, count = (answers[..., 0] > 0.5).astype(int), 2
    else:
        numbers, count = answers.argmax(axis=-1), answers.shape[-1]
    numbers = numbers.reshape(len(numbers), -1)
    names = class_names(given, count)[:MOST_NAMES]
    return {name: (numbers == place).mean(axis=1) for place, name in enumerate(names)}


def class_names(given: Mapping[str, Any], count: int) -> list[str]:
    """Return the names of classes: a number for each that has no name."""
    names = [str(name) for name in given.get("classes", ())]
    return [*names, *(str(place) for place in range(len(names), count))]


_MEASURES: dict[str, Callable[[Any, Mapping[str, Any]], Features]] = {
    "number": _measure_number,
    "category": _measure_category,
    "identifier": _measure_identifier,
    "text": _measure_text,
    "picture": _measure_picture,
    "array": _measure_array,
    "label": _measure_label,
    "labels": _measure_labels,
    "areas": _measure_areas,
}
