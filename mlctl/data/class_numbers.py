"""Class numbers of targets in any form that can mean only one thing: numbers, names, columns, or one-hot rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlctl.domain.outputs import Numbering
from mlctl.errors import BadDataError

MAX_LISTED = 10
CHUNK = 1 << 22  # elements that are checked together
MASK_ON, IGNORED = 255, -1  # a fully lit pixel of a mask; a step or pixel that does not count
SUM_TOLERANCE = 1e-3  # by which a row of probabilities may miss 1

Array = np.ndarray[Any, Any]


def class_numbers(
    targets: Any, classes: Sequence[str], what: str = "targets", numbering: Numbering = ""
) -> Array:
    """Return the class number of each row: int64 (n,), counted from 0.

    Args:
        targets: one label per row, (n,) or (n, 1), or rows of one number per class, (n, classes). A label is a number
            from 0, a number from 1 if there is a label for each class and no 0, -1 or 1 for two classes, a name, a
            boolean, or the probability of the second of two classes.
        classes: names of the classes in order.
        what: what messages call the targets, such as "targets of the test split".
        numbering: how numbers mean classes, as `find_numbering` returned for all splits; "": as these targets say.

    Raises BadDataError if the targets can mean something else, or nothing.
    """
    array = as_array(targets)
    if array.ndim > 1 and array.shape[0] and array.size == array.shape[0]:
        array = array.reshape(-1)
    if array.ndim == 2 and array.shape[1] == len(classes) and array.dtype.kind in "biuf":
        if not is_distribution(array):
            raise BadDataError(
                f"{what} of shape {array.shape} are no one-hot rows: a row's numbers do not sum to 1",
                "for several labels per row, declare the output with labels(…)",
            )
        return np.asarray(array.argmax(axis=1))
    if array.ndim != 1:
        raise BadDataError(
            f"{what} have shape {array.shape}, and there are {len(classes)} classes",
            f"give one class number per row, or one-hot rows of shape (n, {len(classes)})",
        )
    return label_numbers(array, classes, what, numbering).astype(np.int64, copy=False)


def label_numbers(
    labels: Array, classes: Sequence[str], what: str, numbering: Numbering = "", ignored: Sequence[int] = ()
) -> Array:
    """Return the class number of each label, in an array of the same shape and of any integer dtype.

    Labels that are one of the numbers in `ignored`, and are no class, become `IGNORED`.
    """
    labels = _plain_labels(labels, what)
    if labels.dtype.kind in "US":
        return _named(labels, classes, what)
    if labels.dtype.kind == "b":
        return _from_booleans(labels, classes, what)
    if not labels.size:
        return labels.astype(np.int64)
    if labels.dtype.kind == "f":
        if len(classes) == 2 and _are_probabilities(labels):
            return (labels > 0.5).astype(np.int64)
        labels = _whole(labels, what)
    skipped = np.isin(labels, not_classes(ignored, labels, len(classes))) if ignored else None
    known = labels if skipped is None else labels[~skipped]
    numbers = _numbered(labels, classes, numbering or find_numbering([known], classes), what, known)
    if skipped is None or not skipped.any():
        return numbers
    return ignore(numbers, skipped)


def ignore(numbers: Array, skipped: Array) -> Array:
    """Return class numbers with `IGNORED` at the skipped places."""
    is_small = numbers.dtype.kind == "u" and numbers.dtype.itemsize == 1
    return np.where(
        skipped, np.int16(IGNORED), numbers.astype(np.int16 if is_small else np.int64, copy=False)
    )


def find_numbering(parts: Sequence[Any], classes: Sequence[str]) -> Numbering:
    """Return how the numbers in these targets mean classes, of all splits together.

    Returns "" if the targets are no numbers: names and one-hot rows need no numbering.
    """
    bounds = [
        (part.min(), part.max())
        for part in map(np.asarray, parts)
        if part.size and part.dtype.kind in "iuf" and np.isfinite(part.min() + part.max())
    ]
    if not bounds:
        return ""
    low, high, count = min(low for low, _ in bounds), max(high for _, high in bounds), len(classes)
    if low >= 1 and (high == count or (high < count and _are_numbers_from_one(classes))):
        return "one"
    if low >= 0 and high < count:
        return "zero"
    found = {value for part in parts for value in np.unique(np.asarray(part)).tolist()}
    if count == 2 and found <= {-1, 1}:
        return "signs"
    if count == 2 and found <= {0, MASK_ON}:
        return "mask"
    if found <= set(_as_integers(classes)):
        return "names"
    return "zero"


def is_distribution(rows: Array) -> bool:
    """Return whether the last axis holds probabilities that sum to 1."""
    flat = rows.reshape(-1, rows.shape[-1])
    step = max(1, CHUNK // max(1, flat.shape[1]))
    for start in range(0, len(flat), step):
        part = flat[start : start + step].astype(np.float64)
        if not (part >= 0).all() or not (np.abs(part.sum(axis=1) - 1) <= SUM_TOLERANCE).all():
            return False
    return True


def as_array(targets: Any) -> Array:
    """Return targets as an array: of a list, a pandas column, a tensor or a sparse matrix."""
    if isinstance(targets, np.ndarray):
        return targets
    if hasattr(targets, "toarray"):
        return np.asarray(targets.toarray())
    if hasattr(targets, "to_numpy"):
        return np.asarray(targets.to_numpy())
    if isinstance(targets, (list, tuple)) and targets and not np.isscalar(targets[0]):
        try:
            return np.asarray(targets)
        except ValueError:  # rows of different length
            return object_array(targets)
    return np.asarray(targets)


def object_array(rows: Sequence[Any]) -> Array:
    """Return an array (n,) of Python objects, one for each row."""
    array = np.empty(len(rows), object)
    for number, row in enumerate(rows):
        array[number] = row
    return array


def list_classes(classes: Sequence[str]) -> str:
    """Return the names of the classes for a message."""
    return ", ".join(classes[:MAX_LISTED]) + (", …" if len(classes) > MAX_LISTED else "")


def _plain_labels(labels: Array, what: str) -> Array:
    """Return labels of Python objects as an array of texts, booleans or numbers."""
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8")
    if labels.dtype.kind != "O":
        if labels.dtype.kind not in "USbiuf":
            raise BadDataError(
                f"{what} have the type {labels.dtype}", "give class numbers, or names of classes"
            )
        return labels
    flat = labels.reshape(-1).tolist()
    missing = next((row for row, label in enumerate(flat) if _is_missing(label)), None)
    if missing is not None:
        raise BadDataError(f"{what}: row {missing} has no label", "leave the row out, or label it")
    texts = [label.decode("utf-8") if isinstance(label, bytes) else label for label in flat]
    if any(isinstance(label, str) for label in texts):
        return np.asarray([str(label) for label in texts]).reshape(labels.shape)
    try:
        plain = np.asarray(texts).reshape(labels.shape)
    except ValueError:
        plain = labels
    if plain.dtype.kind not in "biuf":
        raise BadDataError(
            f"{what} are of type {type(flat[0]).__name__}", "give class numbers, or names of classes"
        )
    return plain


def _is_missing(label: Any) -> bool:
    return label is None or type(label).__name__ in ("NAType", "NaTType") or label != label


def _named(labels: Array, classes: Sequence[str], what: str) -> Array:
    names, positions = np.unique(labels, return_inverse=True)
    index_of = {name: index for index, name in enumerate(classes)}
    unknown = [str(name) for name in names if name not in index_of]
    if unknown:
        raise BadDataError(
            f"{what} have the label {unknown[0]!r}, which is no class",
            f"the classes are {list_classes(classes)}",
        )
    return np.asarray([index_of[str(name)] for name in names], np.int64)[positions].reshape(labels.shape)


def _from_booleans(labels: Array, classes: Sequence[str], what: str) -> Array:
    if len(classes) != 2:
        raise BadDataError(
            f"{what} are true or false, and there are {len(classes)} classes ({list_classes(classes)})",
            f"give class numbers from 0 to {len(classes) - 1}, or names of classes",
        )
    is_first_true = [name.lower() for name in classes] == ["true", "false"]
    return (~labels if is_first_true else labels).astype(np.int64)


def _are_probabilities(labels: Array) -> bool:
    """Return whether numbers are from 0 to 1, and not all of them whole."""
    return bool(((labels >= 0) & (labels <= 1)).all() and (labels != np.floor(labels)).any())


def _whole(labels: Array, what: str) -> Array:
    wrong = np.flatnonzero(labels.reshape(-1) != np.floor(labels.reshape(-1)))  # also NaN
    infinite = np.flatnonzero(np.isinf(labels.reshape(-1)))
    if len(wrong) or len(infinite):
        row = int((wrong if len(wrong) else infinite)[0])
        if np.isnan(labels.reshape(-1)[row]):
            raise BadDataError(f"{what}: row {row} has no label", "leave the row out, or label it")
        raise BadDataError(
            f"{what} are no class numbers: value {labels.reshape(-1)[row]:g} at position {row}",
            "give whole numbers or names of classes; for numbers as targets, leave Dataset.classes empty",
        )
    return labels.astype(np.int64)


def _numbered(labels: Array, classes: Sequence[str], numbering: Numbering, what: str, known: Array) -> Array:
    """Return class numbers of integers; `known` are those that must be classes."""
    if numbering in ("zero", "one"):
        first, last = (1, len(classes)) if numbering == "one" else (0, len(classes) - 1)
        if known.size and (known.min() < first or known.max() > last):
            raise BadDataError(
                f"{what} are {known.min()} to {known.max()}, and {len(classes)} classes need {first} to {last}",
                f"the classes are {list_classes(classes)}",
            )
        return labels.astype(np.int64) - 1 if first else labels
    index_of = {"signs": {-1: 0, 1: 1}, "mask": {0: 0, MASK_ON: 1}}.get(
        numbering, {number: index for index, number in enumerate(_as_integers(classes))}
    )
    unknown = [value for value in np.unique(known).tolist() if value not in index_of]
    if unknown:
        raise BadDataError(
            f"{what} have the label {unknown[0]}, which is no class",
            f"the classes are {list_classes(classes)}",
        )
    numbers = np.zeros(labels.shape, np.int64)
    for value, index in index_of.items():
        if value is not None:
            numbers[labels == value] = index
    return numbers


def not_classes(ignored: Sequence[int], labels: Array, count: int) -> list[int]:
    """Return the ignored numbers that cannot be classes: 255 can be a class, or a mask's second class."""
    if MASK_ON in ignored and (count > MASK_ON or (count == 2 and not (labels == 1).any())):
        return [number for number in ignored if number != MASK_ON]
    return list(ignored)


def _as_integers(classes: Sequence[str]) -> list[int | None]:
    return [int(name) if name.lstrip("-").isdecimal() else None for name in classes]


def _are_numbers_from_one(classes: Sequence[str]) -> bool:
    return list(classes) == [str(number) for number in range(1, len(classes) + 1)]
