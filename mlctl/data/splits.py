"""Dealing rows out to splits, the same way for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Rows = np.ndarray[Any, np.dtype[np.int64]]


def split_rows(n: int, seed: int, fractions: Sequence[float]) -> tuple[Rows, ...]:
    """Deal the rows 0..n-1 out at random: one array of row numbers for each fraction of the whole.

    The fractions add up to 1; every row lands in exactly one split.
    """
    return _cut(np.random.default_rng(seed).permutation(n), fractions)


def split_rows_by_class(
    classes: np.ndarray[Any, Any], seed: int, fractions: Sequence[float]
) -> tuple[Rows, ...]:
    """Deal rows out so that every split has the classes in the proportions of the whole.

    `classes` is (n,), the class of each row.
    """
    rng = np.random.default_rng(seed)
    hands = [_cut(rng.permutation(np.flatnonzero(classes == one)), fractions) for one in np.unique(classes)]
    return tuple(rng.permutation(np.concatenate(parts)) for parts in zip(*hands, strict=True))


def _cut(rows: Rows, fractions: Sequence[float]) -> tuple[Rows, ...]:
    ends = np.rint(np.cumsum(fractions)[:-1] * len(rows)).astype(int)
    return tuple(np.split(rows, ends))
