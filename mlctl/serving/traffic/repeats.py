"""Rows that are sent again and again: they tell less than as many different rows.

Whoever replays a few hundred rows of a file thousands of times sends no sample of thousands of rows. Were each row
counted, the chance differences between that file and the training rows would look like drift.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlctl.serving.traffic.features import Array

UNIQUE_SHARE = 0.99  # of the training rows: where many are equal by nature, equal live rows say nothing
FEWEST_DIFFERENT = 30  # with fewer, the traffic itself is stuck, which is drift


def unique_share(columns: Mapping[str, Array]) -> float:
    """Return the share of rows that are the only ones of their kind."""
    counts = _multiplicities(columns)
    return float((counts == 1).sum() / max(1, counts.sum()))


def effective_share(columns: Mapping[str, Array]) -> float:
    """Return how many different rows a live row counts for: 1 without repeats, 1/2 if each row came about twice.

    For n rows that were drawn from m others, this is 1 / (1 + n / m). A single row that is sent very often, such as
    that of a broken client, is no such sample: then all rows count.
    """
    counts = _multiplicities(columns)
    rows = int(counts.sum())
    if rows < 2:
        return 1.0
    pairs = float((counts * (counts - 1.0)).sum()) / (rows * (rows - 1.0))
    share, typical = 1 / (1 + (rows - 1) * pairs), rows / len(counts)
    is_even = counts.max() <= typical + 5 * np.sqrt(typical) + 3
    return share if is_even and rows * share >= FEWEST_DIFFERENT else 1.0


def _multiplicities(columns: Mapping[str, Array]) -> Array:
    """Return how often each different row is there."""
    rows = len(next(iter(columns.values()))) if columns else 0
    keys = np.zeros(rows, np.uint64)
    for values in columns.values():
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + _hash(values)
    return np.unique(keys, return_counts=True)[1]


def _hash(values: Array) -> Array:
    if values.dtype.kind in "iufb" and values.ndim == 1:
        bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
        return bits ^ (bits >> np.uint64(29))
    hashes = [hash(row.tobytes() if isinstance(row, np.ndarray) else str(row)) for row in values]
    return np.array(hashes, np.int64).view(np.uint64)
