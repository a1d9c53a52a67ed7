"""Compare the answers of a converted model with those of the model itself."""

from __future__ import annotations

from typing import Any

import numpy as np

# relative to the largest answer; float32 sums differ with the order of their terms
TOLERANCES = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-9}

Array = np.ndarray[Any, Any]


def difference(found: Any, expected: Any) -> str:
    """Return how answers differ, in words; "" if their types, shapes and values are equal to a rounding error."""
    if isinstance(expected, dict):
        if not isinstance(found, dict) or list(found) != list(expected):
            return "their names"
        pairs = [(found[name], expected[name]) for name in expected]
        return next((text for pair in pairs if (text := difference(*pair))), "")
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return "their number"
        pairs = list(zip(found, expected, strict=True))
        return next((text for pair in pairs if (text := difference(*pair))), "")
    return _array_difference(found, expected)


def _array_difference(found: Array, expected: Array) -> str:
    if found.shape != expected.shape:
        return f"their shape ({found.shape} and {expected.shape})"
    if expected.dtype.kind in "OU" and found.dtype.kind in "OU":
        return "" if found.tolist() == expected.tolist() else "their texts"
    if found.dtype != expected.dtype:
        return f"their type ({found.dtype} and {expected.dtype})"
    if expected.dtype.kind != "f":
        return "" if np.array_equal(found, expected) else "their values"
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return "values that are no numbers"
    if not finite.any():
        return ""
    gap = np.abs(found[finite].astype(np.float64) - expected[finite].astype(np.float64)).max()
    scale = max(np.abs(expected[finite]).max(), np.finfo(expected.dtype).tiny)
    return "" if gap <= TOLERANCES.get(expected.dtype.name, 0.0) * scale else f"by {gap:.2g}"
