"""Which column of a table labels its files or texts, and the classes in it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.class_order import describe_positive, describe_rare, order_classes
from mlctl.data.splits import MIN_ROWS_PER_CLASS
from mlctl.data.tables import column_types, target_column
from mlctl.data.tables.convert_cells import normalize_cells
from mlctl.data.tables.number_columns import MIN_SHARE
from mlctl.data.tables.target_column import MAX_NUMERIC_CLASSES
from mlctl.errors import BadDataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

LABEL_NAMES = ("label", "class", "target", "y")  # such a column holds the labels, even if there are others

Array = np.ndarray[Any, Any]


def tabular_hint(path: Path | str, target: str = "") -> str:
    """Return a hint for a table that mlctl took for a list of files or texts."""
    return f"to use it as a table: mlctl train tabular --data {shlex.quote(str(path))} --target {target or 'COLUMN'}"


def find_label_column(path: Path, frame: pd.DataFrame, labelled: str, target: str = "") -> str:
    """Return the column with the labels of column `labelled`: `target`, or the only candidate.

    Raises UsageError if there is no such column, or if there are several candidates.
    """
    names = [str(name) for name in frame.columns if name != labelled]
    if target:
        return find_column(names, "--target ", target)
    candidates = [name for name in names if name.lower() in LABEL_NAMES] or names
    if len(candidates) != 1:
        listed = ", ".join(candidates[:20]) or "none"
        raise UsageError(
            f"{path}: cannot tell which column holds the labels of {labelled}; the other columns are: {listed}",
            f"name it with --target COLUMN; {tabular_hint(path)}",
        )
    return candidates[0]


def find_column(names: Sequence[str], option: str, name: str) -> str:
    """Return the column that an option such as "group=" names, in any case; raises UsageError."""
    if name in names:
        return name
    match = next((column for column in names if column.lower() == name.lower()), None)
    if match is None:
        raise UsageError(
            f"{option}{name}: the table has no such column", column_types.suggest_column(name, names)
        )
    return match


def drop_incomplete_rows(
    frame: pd.DataFrame, labelled: str, label: str, noun: str
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of two columns that have both values, with their index, and a warning if there are others.

    `noun` says what column `labelled` holds, such as "text".
    """
    pair = frame[[labelled]].assign(**{label: normalize_cells(frame[label])})
    complete = pair.dropna()
    dropped = len(pair) - len(complete)
    if not dropped:
        return complete, []
    rows = "1 row lacks" if dropped == 1 else f"{dropped:,} rows lack"
    return complete, [f"warning: {rows} a {noun} or {label}: left out"]


def encode_classes(path: Path, values: pd.Series[Any], noun: str) -> tuple[Array, tuple[str, ...], list[str]]:
    """Return the class index of each row, the names of the classes, and what was found about them.

    `values` come from `drop_incomplete_rows`. Raises BadDataError if fewer than two classes have enough rows.
    """
    labels, findings = target_column.to_labels(values)
    counts = labels.value_counts()
    is_rare = counts < MIN_ROWS_PER_CLASS
    if (~is_rare).sum() < 2:
        smallest = f"; the smallest has {counts.min()} {noun}" if len(counts) else ""
        raise BadDataError(
            f"{path}: column {values.name} has {len(counts)} classes{smallest}",
            f"at least 2 classes are needed, with {MIN_ROWS_PER_CLASS} {noun} each;"
            f" {tabular_hint(path, str(values.name))}",
        )
    classes, reason = order_classes({name: int(counts[name]) for name in sorted(counts.index)})
    index_of = {name: index for index, name in enumerate(classes)}
    notes = [finding.note for finding in findings]
    notes += [describe_positive(classes, reason)] if reason else []
    if is_rare.any():
        notes.append(describe_rare(list(counts.index[is_rare]), int(counts[is_rare].sum()), noun))
    return labels.map(index_of).to_numpy(np.int64), tuple(classes), notes


def is_continuous(values: pd.Series[Any]) -> bool:
    """Whether a column holds values of a regression: numbers that are not whole, or too many for classes."""
    numbers, _ = target_column.read_numbers(values)
    if numbers.notna().mean() < MIN_SHARE or numbers.nunique() <= 2:
        return False
    if bool((numbers.dropna() % 1 != 0).any()):
        return True
    return numbers.nunique() > MAX_NUMERIC_CLASSES and str(values.name).lower() not in LABEL_NAMES[:2]
