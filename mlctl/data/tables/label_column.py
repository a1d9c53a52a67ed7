"""The column of a table that labels its files or texts, and the classes that it names."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.dataset import class_numbers
from mlctl.data.tables import column_types, reader
from mlctl.errors import BadDataError, UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

FEWEST_OF_A_CLASS = 5
PLAIN_NAMES = ("label", "class", "target", "y")  # a column of such a name is the label where others are there
CLASS_NUMBERS = 20  # more whole numbers than these are a scale, unless their column says that it is a label

Array = np.ndarray[Any, Any]


def as_table(path: Path | str, target: str = "") -> str:
    """Return the way out for a table that was taken for a list of files, or of texts."""
    return f"as a table: mlctl train tabular --data {shlex.quote(str(path))} --target {target or 'COLUMN'}"


def column(path: Path, frame: pd.DataFrame, labelled: str, target: str = "") -> str:
    """Return the column that labels what column `labelled` holds: `target`, or the only one that can be meant.

    Raises UsageError where there is no such column, or several could be meant.
    """
    rest = [str(name) for name in frame.columns if name != labelled]
    if target:
        known = [name for name in rest if name == target] or [
            name for name in rest if name.lower() == target.lower()
        ]
        if not known:
            near = did_you_mean(target, rest) or f"it has: {', '.join(rest[:20])}"
            raise UsageError(f"--target {target}: the table has no such column", near)
        return known[0]
    known = [name for name in rest if name.lower() in PLAIN_NAMES] or rest
    if len(known) != 1:
        raise UsageError(
            f"{path} has beside {labelled} the columns {', '.join(known[:20]) or '(none)'}: which is the label?",
            f"say --target COLUMN; {as_table(path)}",
        )
    return known[0]


def whole(frame: pd.DataFrame, labelled: str, label: str, what: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the two columns' rows that have both, the label trimmed, and a note of how many have not."""
    pair = frame[[labelled]].assign(**{label: column_types.plain(frame[label])})
    kept = pair.dropna().reset_index(drop=True)
    lost = len(pair) - len(kept)
    return kept, [f"warning: {_rows(lost)} a {what} or {label}: left out"] if lost else []


def classes(path: Path, values: pd.Series[Any], what: str) -> tuple[Array, tuple[str, ...]]:
    """Return the class number of each row, and the classes' names.

    `values` are as `whole` gives them. Raises BadDataError where these are no classes.
    """
    words = _words(values)
    names, numbers, counts = np.unique(words.to_numpy(str), return_inverse=True, return_counts=True)
    if len(names) < 2 or counts.min() < FEWEST_OF_A_CLASS:
        smallest = f", the smallest of {counts.min()} {what}" if len(names) else ""
        raise BadDataError(
            f"{path}: {values.name} has {len(names)} classes{smallest}",
            f"two or more are needed, with {FEWEST_OF_A_CLASS} {what} each;"
            f" {as_table(path, str(values.name))}",
        )
    return numbers.astype(np.int64), tuple(str(one) for one in names)


def known(
    path: Path, frame: pd.DataFrame, name: str, header: bool | None, classes: Sequence[str], model: str
) -> tuple[Array, Array]:
    """Return which rows of a file's table (bool) have a label, and theirs as a model of these classes has them.

    That is, its class numbers, or values where it has no classes. A cell that is written as a class is named is
    of that class, whatever else it could mean. Raises BadDataError for a class that the model does not know, and
    for what is no number.
    """
    plain = column_types.plain(frame[name])
    if classes:
        found = _words(plain).where(plain.notna(), None)
        written = reader.written(path, name, header)
        plain = found if written is None else written.where(written.isin(classes), found)
    filled = plain.notna().to_numpy()
    if not filled.any():
        raise BadDataError(f"{path}: no row has a {name}", "there is nothing to compare answers with")
    if classes:
        return filled, class_numbers(plain[filled], classes, model)
    numbers = column_types.numeric(plain[filled])
    if numbers.isna().any():
        wrong = str(plain[filled][numbers.isna()].iloc[0])[:40]
        raise BadDataError(f"the target {name} holds {wrong!r}, which is no number", "mend the row")
    return filled, numbers.to_numpy(np.float64)


def _words(plain: pd.Series[Any]) -> pd.Series[Any]:
    return plain.map(lambda one: f"{one:.15g}" if isinstance(one, float) else one)


def is_scale(values: pd.Series[Any]) -> bool:
    """Whether a column, or the head of it, holds values of a scale: numbers that are too many, or not whole."""
    numbers = column_types.numeric(column_types.plain(values))
    if numbers.notna().mean() < column_types.NEARLY_ALL or numbers.nunique() <= 2:
        return False
    if bool((numbers.dropna() % 1 != 0).any()):
        return True
    return numbers.nunique() > CLASS_NUMBERS and str(values.name).lower() not in PLAIN_NAMES[:2]


def _rows(count: int) -> str:
    return "1 row lacks" if count == 1 else f"{count:,} rows lack"
