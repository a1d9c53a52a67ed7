"""Lines about a table that are shown before training: what mlctl detected, and warnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables.column_types import BOOLEAN, CATEGORY, DATE, DROP, NUMBER, TEXT, TYPES, TableColumn

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = {
    NUMBER: "numbers",
    CATEGORY: "categories",
    BOOLEAN: "yes or no",
    DATE: "dates",
    TEXT: "texts",
    DROP: "dropped",
}
MAX_LISTED_CLASSES, MAX_LISTED_COLUMNS = 6, 24
DUPLICATE_SHARE = 0.05  # of the test rows, from which on there is a warning
IMBALANCED = 0.2  # a class is rare if it has less than this share of the rows of equally frequent classes
MIN_RELATIVE_DEVIATION = 1e-4  # of a target: 32-bit floats have a precision of 1e-7

Array = np.ndarray[Any, Any]


def describe_target(target: str, targets: Array, classes: Sequence[str]) -> list[str]:
    """Describe the target; warn if it varies too little for the precision of a network."""
    if not classes:
        low, high = float(targets.min()), float(targets.max())
        lines = [f"target {target}: regression, {low:g} to {high:g} (to change: --set task=…)"]
        if targets.std() < MIN_RELATIVE_DEVIATION * abs(targets.mean()):
            lines.append(
                f"warning: {target} varies little compared to its mean, and a network has a precision of 7 digits:"
                " subtract a constant from it, or use mlctl automl, which does this"
            )
        return lines
    counts = np.bincount(targets, minlength=len(classes))
    largest = np.argsort(-counts)[:MAX_LISTED_CLASSES]
    shares = ", ".join(f"{classes[index]} {counts[index] / len(targets):.1%}" for index in largest)
    more = f" and {len(classes) - len(largest)} more" if len(classes) > len(largest) else ""
    number = "two classes" if len(classes) == 2 else f"{len(classes)} classes"
    return [f"target {target}: {number}: {shares}{more} (to change: --set task=regression)"]


def describe_columns(columns: Sequence[TableColumn], rows: int) -> list[str]:
    """Describe the type of each column."""
    lines = []
    for type in TYPES:
        described = [_describe(column, rows) for column in columns if column.type == type]
        if described:
            hidden = len(described) - MAX_LISTED_COLUMNS
            more = f" and {hidden} more" if hidden > 0 else ""
            lines.append(f"{HEADINGS[type]}: {', '.join(described[:MAX_LISTED_COLUMNS])}{more}")
    return [*lines, "to change a type: --set column.NAME=" + "|".join(TYPES)]


def _describe(column: TableColumn, rows: int) -> str:
    if column.reason:
        return f"{column.name} ({column.reason})"
    return f"{column.name} ({column.missing / rows:.1%} missing)" if column.missing else column.name


def describe_splits(splits: Sequence[Array], group: str, time: str) -> str:
    """Describe the number of rows in each split, and how they were chosen."""
    method = f", by group of {group}" if group else f", ordered by {time}, newest last" if time else ""
    sizes = " / ".join(f"{len(rows):,}" for rows in splits)
    return f"training / validation / test: {sizes} rows{method}"


def warn_of_duplicates(frame: pd.DataFrame, splits: Sequence[Array]) -> list[str]:
    """Warn if many test rows also are training rows, which makes the test score too good."""
    import pandas as pd

    hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    train, _, test = splits
    share = float(np.isin(hashes[test], hashes[train]).mean())
    if share < DUPLICATE_SHARE:
        return []
    return [
        f"warning: {share:.0%} of the test rows are also in the training rows, so the test score is too good:"
        " remove duplicate rows, or keep them in one split (--set group=COLUMN)"
    ]


def warn_of_imbalance(classes: Sequence[str], shares: Array, *, balance: bool) -> list[str]:
    """Warn if a class is rare; `shares` holds the share of each class."""
    if not classes or shares.min() >= IMBALANCED / len(classes):
        return []
    rarest = int(shares.argmin())
    advice = (
        "all classes have the same weight (class_weight=balanced)"
        if balance
        else "--set class_weight=balanced gives all classes the same weight"
    )
    return [
        f"warning: class {classes[rarest]} is {shares[rarest]:.2%} of the rows, so accuracy says little:"
        f" look at f1; {advice}"
    ]
