"""How the validation and test rows differ from the training rows, column by column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlctl.data.checks.columns import as_numbers
from mlctl.data.dataset import Dataset, Split
from mlctl.data.tables.column_types import BOOLEAN, CATEGORY, DATE, NUMBER

MOVED = 0.2  # share of the rows that must have moved to matter
SIGNIFICANT = 1.95  # of Kolmogorov's statistic: one in a thousand by chance
NEW_CATEGORIES = 0.05  # share of the rows with a category that training does not have
FEWEST_ROWS = 30

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """A column that differs: `moved` is the share of the rows that have moved, `words` says where to."""

    column: str
    moved: float
    words: str


def find_shifts(data: Dataset, split: Split) -> list[Shift]:
    """Return the columns of a table whose values in a split differ from those in training, the most different first."""
    types, formats = data.extra.get("columns", {}), data.extra.get("formats", {})
    if min(len(split), len(data.train)) < FEWEST_ROWS:
        return []
    found: list[Shift] = []
    for name, type in types.items():
        train, other = data.train.inputs[name], split.inputs[name]
        scale = math.sqrt(len(train) * len(other) / (len(train) + len(other)))
        gaps = float(other.isna().mean() - train.isna().mean())
        shift = None
        if abs(gaps) >= MOVED:
            words = f"{other.isna().mean():.0%} missing, {train.isna().mean():.0%} in training"
            shift = Shift(column=name, moved=abs(gaps), words=words)
        elif type in (NUMBER, DATE):
            shift = _of_numbers(
                name,
                *(as_numbers(part, type, formats.get(name, "")) for part in (train, other)),
                is_date=type == DATE,
            )
        elif type in (CATEGORY, BOOLEAN):
            shift = _of_words(name, train.dropna().astype(str), other.dropna().astype(str))
        if shift is not None and shift.moved * scale >= SIGNIFICANT:
            found.append(shift)
    return sorted(found, key=lambda shift: -shift.moved)


def _of_numbers(name: str, train: Array, other: Array, *, is_date: bool) -> Shift | None:
    train, other = np.sort(train[np.isfinite(train)]), np.sort(other[np.isfinite(other)])
    if not len(train) or not len(other):
        return None
    points = np.union1d(train, other)
    shares = (np.searchsorted(part, points, "right") / len(part) for part in (train, other))
    moved = float(np.abs(np.subtract(*shares)).max())
    if moved < MOVED:
        return None
    if is_date:
        days = float(np.median(other) - np.median(train))
        return Shift(
            column=name, moved=moved, words=f"{abs(days):,.0f} days {'later' if days > 0 else 'earlier'}"
        )
    return Shift(
        column=name, moved=moved, words=f"median {np.median(other):.4g}, {np.median(train):.4g} in training"
    )


def _of_words(name: str, train: Any, other: Any) -> Shift | None:
    if not len(train) or not len(other):
        return None
    shares, others = train.value_counts(normalize=True), other.value_counts(normalize=True)
    differences = others.sub(shares, fill_value=0.0)
    moved = float(differences.abs().sum() / 2)
    new = others[~others.index.isin(shares.index)]
    if float(new.sum()) >= NEW_CATEGORIES:
        words = (
            f"{new.sum():.0%} of the rows have a category that training does not have, such as {new.index[0]}"
        )
        return Shift(column=name, moved=max(moved, float(new.sum())), words=words)
    chance = math.sqrt(len(shares) / len(other))  # many categories differ without any drift
    if moved < MOVED + chance / 2:
        return None
    most = str(differences.abs().idxmax())
    words = f"{most} {others.get(most, 0.0):.0%}, {shares.get(most, 0.0):.0%} in training"
    return Shift(column=name, moved=moved, words=words)
