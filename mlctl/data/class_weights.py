"""Weights of classes in the loss: as given by index or name, or balanced by how often each class occurs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlctl.data.class_numbers import class_numbers
from mlctl.data.dataset import Dataset
from mlctl.errors import BadDataError

BALANCED = "balanced"


def class_weights(given: Any, data: Dataset) -> dict[int, float] | None:
    """Return the weight of each class as `Model.fit` takes it; None if all classes count equally.

    Args:
        given: "balanced", numbers by the class's index or name, a number for each class, or "none".
        data: the training rows and the classes.

    Raises BadDataError if there are no classes, a class is unknown, or a weight is no number of at least 0.
    """
    if is_equal(given):
        return None
    if not data.classes:
        raise BadDataError("class_weight needs classes, and this data has none", "remove class_weight")
    if given is True or (isinstance(given, str) and given == BALANCED):
        return _balanced(data)
    if isinstance(given, (list, tuple, np.ndarray)) and len(given) == len(data.classes):
        given = dict(enumerate(given))
    if not isinstance(given, Mapping):
        raise BadDataError(
            f"class_weight={given!r} is no weight of {len(data.classes)} classes",
            'use "balanced", or a number for each class: {0: 1.0, 1: 20.0}',
        )
    weights = dict.fromkeys(range(len(data.classes)), 1.0)
    for name, weight in given.items():
        weights[_index(name, data.classes)] = _number(name, weight)
    return weights


def is_equal(given: Any) -> bool:
    """Return whether this says that all classes count equally."""
    return given is None or given is False or (isinstance(given, str) and given in {"", "none"})


def _balanced(data: Dataset) -> dict[int, float]:
    """Return n / (classes * rows of the class), as scikit-learn does; 1 for a class without a row."""
    count = len(data.classes)
    rows = np.zeros(count, np.int64)
    for targets in _target_batches(data):
        rows += np.bincount(class_numbers(targets, data.classes, "training targets"), minlength=count)
    total = int(rows.sum())
    return {number: total / (count * int(found)) if found else 1.0 for number, found in enumerate(rows)}


def _target_batches(data: Dataset) -> Any:
    train = data.train
    targets = [batch[1] for batch in train.inputs.batches()] if train.is_stream else [train.targets]
    if any(isinstance(part, (Mapping, tuple)) or part is None for part in targets):
        raise BadDataError(
            "class_weight=balanced needs one target with a class per row",
            "return weights of rows from load(): Split(inputs, targets, weights)",
        )
    return targets


def _index(name: Any, classes: tuple[str, ...]) -> int:
    if isinstance(name, (int, np.integer)) and 0 <= name < len(classes):
        return int(name)
    if str(name) in classes:
        return classes.index(str(name))
    raise BadDataError(
        f"class_weight has a weight of {name!r}, which is no class", f"classes: {', '.join(classes)}"
    )


def _number(name: Any, weight: Any) -> float:
    try:
        number = float(weight)
    except (TypeError, ValueError):
        number = -1.0
    if not (np.isfinite(number) and number >= 0):
        raise BadDataError(f"class_weight of {name!r} is {weight!r}", "use a number of at least 0")
    return number
