"""Columns that reveal the target, such as values that are only known afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlctl.data.dataset import Split
from mlctl.data.finding import Finding
from mlctl.data.tables.column_types import DROP, set_option
from mlctl.domain.short_texts import list_some

MAX_ROWS = 4000  # enough to detect a leak
MIN_ROWS_OF_HALF = 50
SUSPICIOUS_SHARE = 0.985  # of the target's variation that one column alone explains
MISSING = -1e30
MAX_LISTED = 8

Array = np.ndarray[Any, Any]


def find_leaks(train: Split, *, classification: bool) -> list[Finding]:
    """Return a finding about the columns that alone predict the target almost perfectly.

    A small tree learns from one half of the rows and is scored on the other half.
    """
    rows = train.take(np.arange(min(len(train), MAX_ROWS)))
    half = len(rows) // 2
    if half < MIN_ROWS_OF_HALF:
        return []
    # a regression compares ranks, so that a few large values cannot hide that all others are explained
    targets = rows.targets if classification else rows.targets.argsort(kind="stable").argsort(kind="stable")
    shares: dict[str, float] = {}
    for name in rows.inputs:
        explained = _explained_share(rows.inputs[name], targets, half, classification=classification)
        if explained > SUSPICIOUS_SHARE:
            shares[str(name)] = explained
    return [_describe(shares)] if shares else []


def _describe(shares: Mapping[str, float]) -> Finding:
    """Return the finding about columns, with the share of the target that each explains."""
    first, *others = shares
    if others:
        text = (
            f"{list_some(list(shares), MAX_LISTED)} each explain at least {min(shares.values()):.1%} of the target alone: are they known before"
            f" the target is? {set_option(f'column.{first}', DROP)} leaves one out"
        )
    else:
        text = (
            f"{first} alone explains {shares[first]:.1%} of the target: is it known before the target is?"
            f" {set_option(f'column.{first}', DROP)} leaves it out"
        )
    return Finding(kind="leak", columns=tuple(shares), text=text, is_warning=True)


def _explained_share(values: Any, targets: Array, half: int, *, classification: bool) -> float:
    """Return the share of the second half's errors that a small tree on this column avoids (1: all)."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    features = _as_numbers(values, targets, half)
    tree_class = DecisionTreeClassifier if classification else DecisionTreeRegressor
    leaves = max(8, 2 * len(np.unique(targets))) if classification else 64
    tree = tree_class(max_leaf_nodes=leaves, min_samples_leaf=2, random_state=0)
    tree.fit(features[:half], targets[:half])
    predicted, expected = tree.predict(features[half:]), targets[half:]
    if classification:
        most_frequent = np.bincount(targets[:half]).argmax()
        error, baseline = float((predicted != expected).mean()), float((expected != most_frequent).mean())
    else:
        error, baseline = float(((predicted - expected) ** 2).mean()), float(expected.var())
    return 1 - error / baseline if baseline else 0.0


def _as_numbers(values: Any, targets: Array, half: int) -> Array:
    """Return a column as numbers (n, 1); each word becomes the mean of its targets in the first half."""
    if values.dtype.kind == "f":
        numbers: Array = np.nan_to_num(values.to_numpy(), nan=MISSING)
        return numbers[:, np.newaxis]
    words = values.fillna("").astype(str)
    means = {
        word: float(targets[:half][rows].mean())
        for word, rows in words[:half].groupby(words[:half]).indices.items()
    }
    encoded: Array = words.map(lambda word: means.get(word, MISSING)).to_numpy(np.float64)
    return encoded[:, np.newaxis]
