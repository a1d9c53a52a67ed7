"""How much the numbers of a column tell about the target, each column for itself."""

from __future__ import annotations

from typing import Any

import numpy as np

GROUPS = 20  # of rows with similar numbers, into which a column divides them
FEWEST_ROWS = 20

Array = np.ndarray[Any, Any]


def relevance(numbers: Array, targets: Array, classes: int) -> float:
    """Return the share of the target's variance that groups of rows with similar numbers explain: 0 to 1.

    Columns of chance get about 0, because the share that chance explains is taken off.

    Args:
        numbers: the column (n,); NaN is a gap, and such rows do not count.
        targets: class numbers (n,), or the numbers of a regression, of which only the order counts.
        classes: number of classes, of which the one that is explained best counts; 0: a regression.
    """
    filled = ~np.isnan(numbers)
    numbers, targets = numbers[filled], targets[filled]
    if len(numbers) < FEWEST_ROWS:
        return 0.0
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, GROUPS + 1)[1:-1]))
    groups = np.searchsorted(edges, numbers, side="left")
    if not classes:
        return _explained(groups, _ranks(targets))
    return max(_explained(groups, (targets == number).astype(float)) for number in range(classes))


def _explained(groups: Array, values: Array) -> float:
    """Return the share of the variance that the groups' means explain, less what chance explains.

    It is epsilon squared of T. L. Kelley, An unbiased correlation ratio measure, 1935; below 0 counts as 0.
    """
    counts = np.bincount(groups)
    used = counts > 0
    total = float(values.var())
    freedom = len(values) - int(used.sum())
    if not total or freedom < 1:
        return 0.0
    means = np.bincount(groups, values)[used] / counts[used]
    between = float((counts[used] * (means - values.mean()) ** 2).sum()) / len(values)
    return max(0.0, 1 - (1 - between / total) * (len(values) - 1) / freedom)


def _ranks(values: Array) -> Array:
    """Return the rank of each value; equal values have the same."""
    order = np.sort(values)
    ranks: Array = np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right")
    return ranks / 2
