"""How many rows of a table are in two splits, and how many are expected to be by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MANY = 0.05  # share of the rows of a split from which on its score is too good
MAX_CHANCE = 0.5  # part of the shared rows that may be equal by chance if the others still count as copies
IDENTIFYING = 0.9  # different values of a column by different rows, from which on its values tell rows apart
FINE = 0.1  # the same by all rows

Array = np.ndarray[Any, Any]


def is_by_chance(share: float, expected: float) -> bool:
    """Whether a share of rows that are in two splits may come from chance alone."""
    return expected > MAX_CHANCE * share


def expected_share(frame: pd.DataFrame, train: Array, others: Array) -> float:
    """Return the share of `others` that equal a training row by chance, if the columns were independent.

    It is large in a table of few columns with few values.

    Args:
        frame: The columns to compare.
        train: Row numbers of the training rows.
        others: Row numbers of the rows to look up among them.
    """
    import pandas as pd

    distinct = len(frame.drop_duplicates())
    expected = np.full(len(others), float(len(train)))  # equal training rows
    for name in frame:
        codes, values = pd.factorize(frame[name], use_na_sentinel=False)
        if len(values) >= max(IDENTIFYING * distinct, FINE * len(frame)):
            return 0.0  # its values are equal in copies only
        frequency = np.bincount(codes[train], minlength=len(values)) / len(train)
        expected *= frequency[codes[others]]
    return float((1 - np.exp(-expected)).mean()) if len(others) else 0.0
