"""Columns that give the target away: what is known only afterwards looks like a perfect feature."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlctl.data.dataset import Split

ROWS = 4000  # enough to tell
SUSPICIOUS = 0.985  # of what there is to explain, explained by one column alone

Array = np.ndarray[Any, Any]


def warnings(train: Split, classification: bool) -> list[str]:
    """Return a line for each column that predicts the target almost alone, on rows that it was not fitted to."""
    few = train.take(np.arange(min(len(train), ROWS)))
    half = len(few) // 2
    if half < 50:
        return []
    lines = []
    # a regression's ranks: a few great values must not hide what explains all others
    targets = few.targets if classification else few.targets.argsort(kind="stable").argsort(kind="stable")
    for name in few.inputs:
        explained = _explained(few.inputs[name], targets, half, classification)
        if explained > SUSPICIOUS:
            lines.append(
                f"warning: {name} alone explains {explained:.1%} of the target: is it known before the target is?"
                f" --set column.{name}=drop leaves it out"
            )
    return lines


def _explained(values: Any, targets: Array, half: int, classification: bool) -> float:
    """Return the share of the second half's errors that a small tree on this column avoids (1: all)."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    codes = _codes(values, targets, half)
    tree = DecisionTreeClassifier if classification else DecisionTreeRegressor
    leaves = max(8, 2 * len(np.unique(targets))) if classification else 64
    fitted = tree(max_leaf_nodes=leaves, min_samples_leaf=2, random_state=0).fit(codes[:half], targets[:half])
    found, wanted = fitted.predict(codes[half:]), targets[half:]
    if classification:
        usual = np.bincount(targets[:half]).argmax()
        errors, without = float((found != wanted).mean()), float((wanted != usual).mean())
    else:
        errors, without = float(((found - wanted) ** 2).mean()), float(wanted.var())
    return 1 - errors / without if without else 0.0


def _codes(values: Any, targets: Array, half: int) -> Array:
    """Return a column as (n, 1) numbers: words by the first half's mean target of each."""
    if values.dtype.kind == "f":
        numbers: Array = np.nan_to_num(values.to_numpy(), nan=-1e30)
        return numbers[:, np.newaxis]
    words = values.fillna("").astype(str)
    means = {
        word: float(targets[:half][rows].mean())
        for word, rows in words[:half].groupby(words[:half]).indices.items()
    }
    known: Array = words.map(lambda word: means.get(word, -1e30)).to_numpy(np.float64)
    return known[:, np.newaxis]
