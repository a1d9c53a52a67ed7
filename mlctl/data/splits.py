"""Random splits of rows; the same seed gives the same split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Rows = np.ndarray[Any, np.dtype[np.int64]]

FRACTIONS = (0.64, 0.16, 0.20)  # of training, validation and test, if nothing else is published or requested
SPLIT_SEED = 7


def split_rows(count: int, seed: int, fractions: Sequence[float] = FRACTIONS) -> tuple[Rows, ...]:
    """Split the rows 0..count-1 at random: one array of row numbers per fraction.

    The fractions add up to 1; every row is in exactly one split.
    """
    return cut_rows(np.random.default_rng(seed).permutation(count), fractions)


def split_rows_by_class(
    classes: np.ndarray[Any, Any], seed: int, fractions: Sequence[float] = FRACTIONS
) -> tuple[Rows, ...]:
    """Split rows at random so that every split has the same proportions of classes (stratified).

    `classes` (n,) holds the class of each row.
    """
    rng = np.random.default_rng(seed)
    splits_by_class = [
        cut_rows(rng.permutation(np.flatnonzero(classes == label)), fractions) for label in np.unique(classes)
    ]
    return tuple(rng.permutation(np.concatenate(parts)) for parts in zip(*splits_by_class, strict=True))


def cut_rows(rows: Rows, fractions: Sequence[float] = FRACTIONS) -> tuple[Rows, ...]:
    """Cut ordered rows into consecutive pieces, one per fraction."""
    ends = np.rint(np.cumsum(fractions)[:-1] * len(rows)).astype(int)
    return tuple(np.split(rows, ends))
