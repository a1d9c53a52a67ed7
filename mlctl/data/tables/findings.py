"""What mlctl finds in a table: its target, columns and splits, rows in two splits, rare classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.finding import Finding
from mlctl.data.tables import copies
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
IMBALANCED = 0.2  # a class is rare if it has less than this share of the rows of equally frequent classes
MIN_RELATIVE_DEVIATION = 1e-4  # of a target: 32-bit floats have a precision of 1e-7

Array = np.ndarray[Any, Any]


def describe_target(target: str, targets: Array, classes: Sequence[str]) -> list[Finding]:
    """Describe the target; warn if it varies too little for the precision of a network."""
    if not classes:
        low, high = float(targets.min()), float(targets.max())
        text = f"target {target}: regression, {low:g} to {high:g} (to change: --set task=…)"
        found = [Finding(kind="target", columns=(target,), text=text)]
        if targets.std() < MIN_RELATIVE_DEVIATION * abs(targets.mean()):
            text = (
                f"{target} varies little compared to its mean, and a network has a precision of 7 digits:"
                " subtract a constant from it, or use mlctl automl, which does this"
            )
            found.append(Finding(kind="target", columns=(target,), text=text, is_warning=True))
        return found
    counts = np.bincount(targets, minlength=len(classes))
    largest = np.argsort(-counts)[:MAX_LISTED_CLASSES]
    shares = ", ".join(f"{classes[index]} {counts[index] / len(targets):.1%}" for index in largest)
    more = f" and {len(classes) - len(largest)} more" if len(classes) > len(largest) else ""
    number = "two classes" if len(classes) == 2 else f"{len(classes)} classes"
    text = f"target {target}: {number}: {shares}{more} (to change: --set task=regression)"
    return [Finding(kind="target", columns=(target,), text=text)]


def describe_columns(columns: Sequence[TableColumn], rows: int) -> list[Finding]:
    """Describe the type of each column."""
    found = []
    for type in TYPES:
        described = [_describe(column, rows) for column in columns if column.type == type]
        if described:
            hidden = len(described) - MAX_LISTED_COLUMNS
            more = f" and {hidden} more" if hidden > 0 else ""
            text = f"{HEADINGS[type]}: {', '.join(described[:MAX_LISTED_COLUMNS])}{more}"
            names = tuple(column.name for column in columns if column.type == type)
            found.append(Finding(kind="columns", columns=names, text=text))
    return [*found, Finding(kind="columns", text="to change a type: --set column.NAME=" + "|".join(TYPES))]


def _describe(column: TableColumn, rows: int) -> str:
    if column.reason:
        return f"{column.name} ({column.reason})"
    return f"{column.name} ({column.missing / rows:.1%} missing)" if column.missing else column.name


def describe_splits(splits: Sequence[Array], method: str) -> Finding:
    """Describe the number of rows in each split, and how they were chosen."""
    sizes = " / ".join(f"{len(rows):,}" for rows in splits)
    text = f"training / validation / test: {sizes} rows{f', {method}' if method else ''}"
    return Finding(kind="splits", text=text)


def find_duplicates(frame: pd.DataFrame, splits: Sequence[Array]) -> list[Finding]:
    """Warn if many test rows also are training rows, not by chance, which makes the test score too good."""
    import pandas as pd

    hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    train, _, test = splits
    is_copy = pd.Series(hashes[test]).isin(hashes[train]).to_numpy()  # NumPy's isin is several times slower
    if not len(test) or is_copy.mean() < copies.MANY:
        return []
    if copies.is_by_chance(is_copy.mean(), copies.expected_share(frame, train, test)):
        return []
    text = (
        f"{is_copy.mean():.0%} of the test rows are also in the training rows, so the test score is too good:"
        " remove duplicate rows, or keep them in one split (--set group=COLUMN)"
    )
    return [Finding(kind="duplicates", text=text, rows=int(is_copy.sum()), is_warning=True)]


def is_imbalanced(shares: Sequence[float] | Array) -> bool:
    """Whether a class is rare; `shares` holds the share of each class, 0 of one that is not scored."""
    used = [share for share in shares if share > 0]
    return min(used) < IMBALANCED / len(used)


def find_imbalance(target: str, classes: Sequence[str], shares: Array, *, balance: bool) -> list[Finding]:
    """Warn if a class is rare; `shares` holds the share of each class, 0 of one that is not scored."""
    if not classes or not is_imbalanced(shares):
        return []
    rarest = int(np.where(shares > 0, shares, np.inf).argmin())
    advice = (
        "all classes have the same weight (class_weight=balanced)"
        if balance
        else "--set class_weight=balanced gives all classes the same weight, --set threshold=f1 chooses when to"
        " answer it"
        if len(classes) == 2
        else "--set class_weight=balanced gives all classes the same weight"
    )
    text = f"class {classes[rarest]} is {shares[rarest]:.2%} of the rows, so accuracy says little: look at f1; {advice}"
    return [Finding(kind="imbalance", columns=(target,), text=text, is_warning=True)]
