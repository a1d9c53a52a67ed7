"""95 % intervals of two scores and their difference, from resampled rows (a paired bootstrap)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

DRAWS, MIN_DRAWS = 1000, 50
QUANTILES = (2.5, 97.5)

Array = np.ndarray[Any, Any]
Interval = tuple[float, float]


def resample(
    score: Callable[[Array], tuple[float, float]],
    rows: int,
    loss: Callable[[float, float], float],
    seconds: float = 10.0,
) -> tuple[Interval, Interval, Interval]:
    """Return the intervals of two scores, and of the loss from the first to the second one.

    Args:
        score: Returns both scores of some rows; a row can occur several times.
        rows: Number of rows.
        loss: Returns the loss of two scores.
        seconds: Time limit.

    There are up to 1,000 draws, and fewer if the score takes long to compute, but never fewer than 50.
    """
    generator = np.random.default_rng(0)
    pairs, started = [], time.perf_counter()
    for draw in range(DRAWS):
        if draw >= MIN_DRAWS and time.perf_counter() - started > seconds:
            break
        pairs.append(score(generator.integers(0, rows, rows)))
    before, after = (np.array(values) for values in zip(*pairs, strict=True))
    losses = np.array([loss(one, other) for one, other in pairs])
    return _interval(before), _interval(after), _interval(losses)


def _interval(values: Array) -> Interval:
    known = values[np.isfinite(values)]
    if not len(known):
        return (float("nan"), float("nan"))
    low, high = np.percentile(known, QUANTILES)
    return float(low), float(high)
