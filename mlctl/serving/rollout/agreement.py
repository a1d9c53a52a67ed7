"""Whether two versions of a model agree: the same class in each row, or nearly the same value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

TOLERANCE = 0.05  # part of the larger value by which two numbers may differ
SMALLEST = 1e-6
EXCLUSIVE = {"classes", "pixels", "sequence"}  # kinds of outputs that are probabilities of exclusive classes
MAX_ROWS = 1000  # of one request; they are enough, and a comparison stays short


def disagreement(answer: bytes, other: bytes, *, kinds: Mapping[str, str]) -> float:
    """Return the share of rows in which two answers to the same request differ.

    Args:
        answer: Body of an answer.
        other: Body of another version's answer.
        kinds: Kind of each output, as `domain.outputs` names them; numbers of an unknown kind are compared.
    """
    ours, theirs = orjson.loads(answer)["predictions"], orjson.loads(other)["predictions"]
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return 1.0
        shares = [_differing(ours[name], theirs[name], kinds.get(name, "")) for name in ours]
        return max(shares, default=0.0)
    only_kind = next(iter(kinds.values()), "") if len(kinds) == 1 else ""
    return _differing(ours, theirs, only_kind)


def _differing(ours: Any, theirs: Any, kind: str) -> float:
    if not isinstance(ours, list) or not isinstance(theirs, list):
        ours, theirs = [ours], [theirs]
    if len(ours) != len(theirs):
        return 1.0
    ours, theirs = ours[:MAX_ROWS], theirs[:MAX_ROWS]
    if not ours:
        return 0.0
    equal = _equal_arrays(ours, theirs, kind)
    if equal is None:
        equal = np.array([_is_equal(a, b) for a, b in zip(ours, theirs, strict=True)])
    return float(1 - equal.mean()) if equal.size else 0.0


def _equal_arrays(ours: Sequence[Any], theirs: Sequence[Any], kind: str) -> Any:
    """Return whether each class, or each number, is equal; None if the rows are no arrays of numbers."""
    try:
        a, b = np.array(ours, dtype=float), np.array(theirs, dtype=float)
    except (TypeError, ValueError):
        return None
    if a.shape != b.shape:
        return np.zeros(len(ours), bool)
    if kind in EXCLUSIVE and a.ndim > 1 and a.shape[-1] > 1:
        return a.argmax(-1) == b.argmax(-1)
    if kind in EXCLUSIVE or kind == "labels":
        return (a > 0.5) == (b > 0.5)
    if all(np.asarray(rows).dtype.kind in "iub" for rows in (ours, theirs)):
        return a == b  # integers may be numbers of classes
    return _is_close(a, b)


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
    if isinstance(a, float) and isinstance(b, (int, float)):
        return bool(_is_close(np.float64(a), np.float64(b)))
    return bool(a == b)
