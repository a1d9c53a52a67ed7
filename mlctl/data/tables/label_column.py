"""The column of a table that labels its files or texts, and the classes in it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.dataset import class_indices
from mlctl.data.tables import column_types, reader
from mlctl.errors import BadDataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS_PER_CLASS = 5
LABEL_NAMES = ("label", "class", "target", "y")  # such a column holds the labels, even if there are others
MAX_NUMERIC_CLASSES = 20  # more distinct whole numbers are a regression, unless the column has a label's name

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
    """Return the rows of two columns that have both values, and a warning if there are others.

    `noun` says what column `labelled` holds, such as "text".
    """
    pair = frame[[labelled]].assign(**{label: column_types.normalize_cells(frame[label])})
    complete = pair.dropna().reset_index(drop=True)
    dropped = len(pair) - len(complete)
    if not dropped:
        return complete, []
    rows = "1 row lacks" if dropped == 1 else f"{dropped:,} rows lack"
    return complete, [f"warning: {rows} a {noun} or {label}: left out"]


def encode_classes(path: Path, values: pd.Series[Any], noun: str) -> tuple[Array, tuple[str, ...]]:
    """Return the class index of each row, and the names of the classes.

    `values` come from `drop_incomplete_rows`. Raises BadDataError if there are too few classes, or too few rows of
    one.
    """
    labels = format_labels(values)
    names, indices, counts = np.unique(labels.to_numpy(str), return_inverse=True, return_counts=True)
    if len(names) < 2 or counts.min() < MIN_ROWS_PER_CLASS:
        smallest = f"; the smallest has {counts.min()} {noun}" if len(names) else ""
        raise BadDataError(
            f"{path}: column {values.name} has {len(names)} classes{smallest}",
            f"at least 2 classes are needed, with {MIN_ROWS_PER_CLASS} {noun} each;"
            f" {tabular_hint(path, str(values.name))}",
        )
    return indices.astype(np.int64), tuple(str(name) for name in names)


def encode_labels(
    path: Path,
    frame: pd.DataFrame,
    label: str,
    *,
    header: bool | None,
    classes: Sequence[str],
    model: str,
) -> tuple[Array, Array]:
    """Return which rows have a label (bool), and these labels as a trained model has them.

    Labels become class indices, or values if the model has no classes. A cell that is written exactly as a class is
    named belongs to this class, even if the cell could also be a missing value or another number.

    Raises BadDataError for an unknown class, for a text instead of a number, and if no row has a label.
    """
    cells = column_types.normalize_cells(frame[label])
    if classes:
        cells = format_labels(cells).where(cells.notna(), None)
        as_written = reader.read_cells(path, header=header, known_names=(label,))
        if as_written is not None:
            written = as_written[label].str.strip()
            cells = written.where(written.isin(classes), cells)
    has_label = cells.notna().to_numpy()
    if not has_label.any():
        raise BadDataError(f"{path}: column {label} is empty", "add the labels to compare predictions with")
    labels = cells[has_label]
    if classes:
        return has_label, class_indices(labels, classes, model)
    return has_label, parse_targets(labels)


def parse_targets(values: pd.Series[Any]) -> Array:
    """Return a regression's targets as float64; raises BadDataError for a cell that is not a number."""
    numbers = column_types.parse_numbers(values)
    wrong = values[numbers.isna()]
    if len(wrong):
        raise BadDataError(
            f"target {values.name}, row {wrong.index[0] + 1}: found {str(wrong.iloc[0])[:40]!r}, expected a number",
            "correct the row, or remove it",
        )
    targets: Array = numbers.to_numpy(np.float64)
    return targets


def format_labels(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Return labels as texts: the number 1.0 becomes "1"."""
    return cells.map(lambda cell: f"{cell:.15g}" if isinstance(cell, float) else cell)


def is_continuous(values: pd.Series[Any]) -> bool:
    """Whether a column holds values of a regression: numbers that are not whole, or too many for classes."""
    numbers = column_types.parse_numbers(column_types.normalize_cells(values))
    if numbers.notna().mean() < column_types.MIN_SHARE or numbers.nunique() <= 2:
        return False
    if bool((numbers.dropna() % 1 != 0).any()):
        return True
    return numbers.nunique() > MAX_NUMERIC_CLASSES and str(values.name).lower() not in LABEL_NAMES[:2]
