"""Splits of rows: random ones, of which the same seed gives the same split, and published ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Rows = np.ndarray[Any, np.dtype[np.int64]]

FRACTIONS = (0.64, 0.16, 0.20)  # of training, validation and test, if nothing else is published or requested
SPLIT_SEED = 7
MIN_ROWS_PER_CLASS = 5  # a class with fewer rows is too rare for three splits
TRAIN, VALIDATION, TEST = range(3)
# by whether validation and test are published: fractions of the other rows for training, validation and test
UNPUBLISHED_FRACTIONS = {
    (False, False): FRACTIONS,
    (False, True): (0.8, 0.2, 0.0),
    (True, False): (0.8, 0.0, 0.2),
    (True, True): (1.0, 0.0, 0.0),
}


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


def complete_splits(
    published: np.ndarray[Any, Any],
    seed: int,
    classes: np.ndarray[Any, Any] | None = None,
    *,
    fractions: Sequence[float] = (),
) -> tuple[Rows, ...]:
    """Return the row numbers of training, validation and test, where some rows have a published split.

    A published split stays as it is. A split that is not published is chosen at random from the training rows; those of
    a class that is too rare all stay in training.

    Args:
        published: TRAIN, VALIDATION or TEST for each row, (n,).
        seed: Seed of the random splits.
        classes: The class of each row, to split within each class; None splits without regard to the targets.
        fractions: Fractions of the training rows, if not those of `UNPUBLISHED_FRACTIONS`.
    """
    rest, *given = (np.flatnonzero(published == split) for split in (TRAIN, VALIDATION, TEST))
    fractions = fractions or UNPUBLISHED_FRACTIONS[bool(len(given[0])), bool(len(given[1]))]
    rare = rest[:0]
    if classes is None:
        chosen = split_rows(len(rest), seed, fractions)
    else:
        is_rare = np.bincount(classes[rest])[classes[rest]] < MIN_ROWS_PER_CLASS
        rest, rare = rest[~is_rare], rest[is_rare]
        chosen = split_rows_by_class(classes[rest], seed, fractions) if len(rest) else (rest,) * 3
    train, *random = (rest[rows] for rows in chosen)
    return (
        np.concatenate((train, rare)),
        *(rows if len(rows) else other for rows, other in zip(given, random, strict=True)),
    )
