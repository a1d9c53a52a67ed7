"""The mean target of each category, as features: for columns with too many categories for a column each.

The served encoder looks a category up in the means of all known rows. A model must not be fitted to these values for
the very rows that made them, so that the known rows get the means of other rows (`out_of_fold`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.recipes import encoders
from mlctl.serving.scoring import TableEncoder

FOLDS = 5
PRIOR_ROWS = 5.0  # so many rows of the overall mean are added to each category
MAX_CLASSES = 12  # with more classes, only the most frequent ones get a mean
SKEWED = 1.0  # from this skewness on, the mean is that of the target's logarithm

Array = np.ndarray[Any, Any]


def smoothed_targets(targets: Array, classes: int) -> Array:
    """Return what is averaged for each row (n, k): the target or its logarithm, or 1 for the row's class, else 0."""
    if not classes:
        values = targets.astype(np.float64)
        deviation = float(values.std()) or 1.0
        skewness = float((((values - values.mean()) / deviation) ** 3).mean())
        return (np.log(values) if skewness > SKEWED and values.min() > 0 else values)[:, np.newaxis]
    if classes == 2:
        return targets.astype(np.float64)[:, np.newaxis]
    frequent = np.argsort(-np.bincount(targets, minlength=classes), kind="stable")[:MAX_CLASSES]
    return np.asarray(targets[:, np.newaxis] == np.sort(frequent), np.float64)


def lookup_steps(name: str, cells: Any, targets: Array) -> list[Mapping[str, Any]]:
    """Return the step with the mean targets and the frequency of each category of a column (a Series)."""
    codes, categories = _factorize(cells)
    prior = targets.mean(axis=0)
    means, counts = _means(codes, targets, len(categories), prior)
    values = {
        category: [*map(float, mean), float(np.log1p(count))]
        for category, mean, count in zip(categories, means, counts, strict=True)
    }
    return list(encoders.lookup(name, values, [*map(float, prior), 0.0]))


def out_of_fold(encoder: TableEncoder, rows: Any, targets: Array, encoded: Array, seed: int) -> None:
    """Replace, in the encoded known rows, the mean targets of categories by those of the rows in other folds."""
    fold = np.random.default_rng(seed).permutation(len(rows)) % FOLDS
    ends = np.cumsum([0, *encoder.widths()])
    for number, step in enumerate(encoder.steps):
        if step["make"] != "lookup":
            continue
        codes, categories = _factorize(rows[step["of"]])
        columns = slice(int(ends[number]), int(ends[number + 1]) - 1)  # the last one counts rows, not targets
        for part in range(FOLDS):
            is_other = fold != part
            prior = targets[is_other].mean(axis=0)
            means, _ = _means(codes[is_other], targets[is_other], len(categories), prior)
            values = (means[codes[~is_other]] - encoder.mean[columns]) / encoder.scale[columns]
            encoded[~is_other, columns] = np.clip(values, -10.0, 10.0)


def _factorize(cells: Any) -> tuple[Array, Sequence[str]]:
    """Return the number of each cell's category, and the categories; a gap is the category ""."""
    codes, categories = cells.astype(object).where(cells.notna(), "").factorize()
    return codes, list(categories)


def _means(codes: Array, targets: Array, count: int, prior: Array) -> tuple[Array, Array]:
    """Return the mean target of each category (count, k), drawn towards `prior`, and its number of rows."""
    rows = np.bincount(codes, minlength=count)
    sums = np.stack([np.bincount(codes, values, minlength=count) for values in targets.T], axis=1)
    return (sums + PRIOR_ROWS * prior) / (rows + PRIOR_ROWS)[:, np.newaxis], rows
