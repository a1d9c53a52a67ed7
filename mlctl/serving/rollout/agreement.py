"""Whether two versions of a model agree: the same class in each row, or nearly the same value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

TOLERANCE = 0.05  # part of the larger value by which two numbers may differ
SMALLEST = 1e-6
MAX_ROWS = 1000  # of one request; they are enough, and a comparison stays short


def disagreement(answer: bytes, other: bytes, *, has_classes: bool) -> float:
    """Return the share of rows in which two answers to the same request differ.

    Args:
        answer: Body of an answer.
        other: Body of another version's answer.
        has_classes: Each row holds the probabilities of classes, or one probability; otherwise numbers are compared.
    """
    ours, theirs = orjson.loads(answer)["predictions"], orjson.loads(other)["predictions"]
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return 1.0
        shares = [_differing(ours[name], theirs[name], has_classes) for name in ours]
        return max(shares, default=0.0)
    return _differing(ours, theirs, has_classes)


def _differing(ours: Any, theirs: Any, has_classes: bool) -> float:
    if not isinstance(ours, list) or not isinstance(theirs, list):
        ours, theirs = [ours], [theirs]
    if len(ours) != len(theirs):
        return 1.0
    ours, theirs = ours[:MAX_ROWS], theirs[:MAX_ROWS]
    if not ours:
        return 0.0
    equal = _equal_arrays(ours, theirs, has_classes)
    if equal is None:
        equal = np.array([_is_equal(a, b) for a, b in zip(ours, theirs, strict=True)])
    return float(1 - equal.mean())


def _equal_arrays(ours: Sequence[Any], theirs: Sequence[Any], has_classes: bool) -> Any:
    """Return for each row whether it is equal; None if the rows are no arrays of numbers of the same shape."""
    try:
        a, b = np.array(ours, dtype=float), np.array(theirs, dtype=float)
    except (TypeError, ValueError):
        return None
    if a.shape != b.shape:
        return np.zeros(len(ours), bool)
    if a.ndim > 1 and not a.size:
        return np.ones(len(ours), bool)
    if has_classes:
        has_columns = a.ndim > 1 and a.shape[-1] > 1
        equal = a.argmax(-1) == b.argmax(-1) if has_columns else (a > 0.5) == (b > 0.5)
    else:
        equal = _is_close(a, b)
    return equal.reshape(len(ours), -1).all(axis=1)


def _is_close(a: Any, b: Any) -> Any:
    distance = np.abs(a - b)
    near = distance <= np.maximum(TOLERANCE * np.maximum(np.abs(a), np.abs(b)), SMALLEST)
    return near | (np.isnan(a) & np.isnan(b)) | (a == b)


def _is_equal(a: Any, b: Any) -> bool:
    """Return whether two values are equal; numbers in them may differ by the tolerance."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_is_equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_is_equal, a, b))
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and not isinstance(a, bool):
        return bool(_is_close(np.float64(a), np.float64(b)))
    return bool(a == b)
