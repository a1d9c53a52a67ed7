"""A user's own table as a Dataset: column types, task and splits are detected, and described in its notes.

Options of the tabular recipe:

| option | meaning |
| --- | --- |
| task | auto, regression, binary, multiclass |
| column.NAME | the column's type, instead of the detected one: one of `column_types.TYPES` |
| group | a column: rows with the same value (a patient, a customer) stay in one split; it is not a feature |
| time | a column: the newest rows become the test split, the next newest the validation split |
| weight | a column: how much each row counts in the loss and in weighted metrics; it is not a feature |
| split_seed | seed of the random split: 64 % training, 16 % validation, 20 % test; within each class, if any |
| header | auto, true, false |

In the Dataset, `inputs` are DataFrames as a client sends them (float64 with NaN, bool, str with None) without the
dropped columns. `extra` holds "columns" (name -> type), "formats" (date column -> format) and "share" (share of each
class in the training rows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data import splits
from mlctl.data.dataset import Dataset, Split
from mlctl.data.sources import locate
from mlctl.data.tables import column_types, findings, leakage, reader
from mlctl.data.tables.column_types import DATE, DROP
from mlctl.data.tables.label_column import (
    MAX_NUMERIC_CLASSES,
    MIN_ROWS_PER_CLASS,
    find_column,
    format_labels,
    parse_targets,
)
from mlctl.data.trees import take_rows
from mlctl.errors import BadDataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS, MAX_CLASSES = 20, 1000
# read as missing values, but also plausible names of a class
CLASS_WORDS = ("None", "none", "NONE", "missing", "Missing")

Array = np.ndarray[Any, Any]


def load_table(path: Path, target: str, options: Mapping[str, Any], *, source: str = "") -> Dataset:
    """Return a table's rows by split.

    Raises BadDataError if the file is not a table or is not suitable for training, UsageError for a column or type
    that does not exist.

    Args:
        path: File of the table.
        target: Name of the column to predict.
        options: Values of the recipe's options; those left out have their default.
        source: Where the table comes from, if not from `path`.
    """
    header = {"true": True, "false": False}.get(str(options.get("header", "auto")).lower())
    table, format = reader.read_table(path, header=header, known_names=(target,))
    names = list(table.columns)
    target = find_column(names, "--target ", target)
    group, time, weight = (
        find_column(names, f"{option}=", options[option]) if options.get(option) else ""
        for option in ("group", "time", "weight")
    )
    if weight in {target, group, time} - {""}:
        raise UsageError(f"weight={weight} is also another option's column", "choose a column of weights")
    table[target], missing_words = _restore_class_words(path, header, table[target])
    frame = table[column_types.normalize_cells(table[target]).notna()]
    if frame.empty:
        raise BadDataError(f"{path}: the target {target} is empty", "choose another column with --target")
    targets, classes = _parse_target(frame[target], str(options.get("task", "auto")))
    types = {
        name.partition(".")[2]: str(type) for name, type in options.items() if name.startswith("column.")
    }
    if group:
        types.setdefault(group, DROP)
    weights = _parse_weights(frame[weight]) if weight else None
    unused = [target, weight] if weight else [target]
    inputs, columns = column_types.convert_columns(frame.drop(columns=unused), types)
    if not len(inputs.columns):
        raise BadDataError(
            f"{path}: mlctl drops all columns besides the target", "keep one: --set column.NAME=TYPE"
        )
    if len(frame) < MIN_ROWS:
        raise BadDataError(f"{path} has {len(frame)} rows with a {target}", f"at least {MIN_ROWS} are needed")
    seed = int(options.get("split_seed", splits.SPLIT_SEED))
    parts = _split(frame, targets, is_classification=bool(classes), group=group, time=time, seed=seed)
    _require_all_classes(targets[parts[0]], classes, f"group={group}" if group else f"time={time}")
    train, validation, test = (
        Split(take_rows(inputs, rows), targets[rows], None if weights is None else weights[rows])
        for rows in parts
    )
    shares = np.bincount(train.targets, minlength=len(classes)) / len(train) if classes else np.zeros(0)
    dropped = len(table) - len(frame)
    notes = [
        f"{path.name}: {len(table):,} rows ({format})",
        *([f"{dropped:,} rows have no {target}{missing_words}: left out"] if dropped else []),
        *findings.describe_target(target, targets, classes),
        *findings.describe_columns(columns, len(frame)),
        findings.describe_splits(parts, group, time),
        *findings.warn_of_duplicates(frame, parts),
        *findings.warn_of_imbalance(classes, shares, balance=_is_balanced(options)),
        *([f"weights of rows: column {weight}"] if weight else []),
        *leakage.warn_of_leakage(train, classification=bool(classes)),
    ]
    return Dataset(
        path.name.partition(".")[0],
        train,
        validation,
        test,
        classes=tuple(classes),
        source=source or str(path),
        sha256=locate.sha256([path]),
        size_bytes=path.stat().st_size,
        split_seed=seed,
        notes=tuple(notes),
        extra={
            "columns": {column.name: column.type for column in columns if column.type != DROP},
            "formats": {column.name: column.format for column in columns if column.type == DATE},
            "share": tuple(float(share) for share in shares),
        },
    )


def _is_balanced(options: Mapping[str, Any]) -> bool:
    return bool(options.get("balance")) or options.get("class_weight") == "balanced"


def _parse_weights(values: pd.Series[Any]) -> Array:
    """Return the weights of rows: float32 (n,)."""
    numbers = column_types.parse_numbers(column_types.normalize_cells(values))
    if numbers.isna().any():
        row = numbers.index[numbers.isna()][0] + 1
        raise BadDataError(f"weight={values.name}: row {row} has no number", "fill it in with a number")
    weights: Array = numbers.to_numpy(np.float32)
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.max() > 0):
        raise BadDataError(
            f"weight={values.name} holds values below 0, or no value above 0",
            "a weight is a number of at least 0",
        )
    return weights


def _restore_class_words(
    path: Path, header: bool | None, target: pd.Series[Any]
) -> tuple[pd.Series[Any], str]:
    """Return the target with classes such as "None" restored, and a description of its missing values.

    In a column of numbers, every such word is a missing value; in others, only words such as "NA" and "?" are.
    """
    if not target.isna().any():
        return target, ""
    cells = reader.read_cells(path, header=header, known_names=(str(target.name),))
    if cells is None:
        return target, ""
    written = cells[target.name].str.strip()
    is_missing_word = target.isna() & (written != "")
    if target.dtype.kind not in "iuf":
        is_class = is_missing_word & written.isin(CLASS_WORDS)
        target, is_missing_word = target.where(~is_class, written), is_missing_word & ~is_class
    words = sorted(set(written[is_missing_word]))
    return target, f" ({', '.join(map(repr, words[:4]))})" if words else ""


def _parse_target(values: pd.Series[Any], task: str) -> tuple[Array, list[str]]:
    """Return class indices and the names of the classes, or values and no names."""
    name = values.name
    cells = column_types.normalize_cells(values)
    numbers = column_types.parse_numbers(cells)
    is_numeric = numbers.notna().mean() >= column_types.MIN_SHARE
    if task == "regression" or (task == "auto" and is_numeric and not _are_classes(numbers.dropna())):
        targets = parse_targets(cells)
        if numbers.nunique() == 1:
            raise BadDataError(
                f"the target {name} is always {targets[0]:g}", "choose a column with different values"
            )
        return targets, []
    labels = format_labels(cells)
    classes = sorted(set(labels), key=float if cells.dtype.kind == "f" else str)
    _check_classes(str(name), classes, labels.value_counts(), task)
    return labels.map({label: index for index, label in enumerate(classes)}).to_numpy(np.int64), classes


def _are_classes(numbers: pd.Series[Any]) -> bool:
    """Whether numbers are classes: two values, or a few whole ones with enough rows each."""
    distinct = numbers.nunique()
    if distinct == 2:
        return True
    is_whole = bool((numbers % 1 == 0).all())
    return (
        is_whole
        and distinct <= MAX_NUMERIC_CLASSES
        and int(numbers.value_counts().min()) >= MIN_ROWS_PER_CLASS
    )


def _check_classes(name: str, classes: Sequence[str], counts: pd.Series[Any], task: str) -> None:
    if len(classes) < 2:
        raise BadDataError(
            f"the target {name} is always {classes[0]}", "choose a column with different values"
        )
    if len(classes) > MAX_CLASSES or len(classes) > counts.sum() / 2:
        raise BadDataError(
            f"the target {name} has {len(classes):,} different values in {counts.sum():,} rows:"
            " too many for classes",
            "choose another column with --target",
        )
    if task == "binary" and len(classes) != 2:
        raise UsageError(f"task=binary, but {name} has {len(classes)} values", "use --set task=multiclass")
    rare = counts[counts < MIN_ROWS_PER_CLASS]
    if len(rare):
        raise BadDataError(
            f"class {rare.index[0]!r} of {name} has {rare.iloc[0]} rows: too few for three splits",
            f"each class needs {MIN_ROWS_PER_CLASS}: remove its rows, or use --set task=regression",
        )


def _split(
    frame: pd.DataFrame, targets: Array, *, is_classification: bool, group: str, time: str, seed: int
) -> tuple[Array, ...]:
    """Return the row positions of training, validation and test."""
    if group and time:
        raise UsageError("group= and time= cannot be used together", "leave one of them out")
    if time:
        return splits.cut_rows(np.argsort(_parse_times(frame[time]), kind="stable"))
    if group:
        codes = frame[group].astype(str).factorize()[0]
        groups = splits.split_rows(int(codes.max()) + 1, seed)
        parts = tuple(np.flatnonzero(np.isin(codes, members)) for members in groups)
        if not all(map(len, parts)):
            raise BadDataError(
                f"group={group} has {codes.max() + 1} different values: too few for three splits",
                "choose another column",
            )
        return parts
    if is_classification:
        return splits.split_rows_by_class(targets, seed)
    return splits.split_rows(len(frame), seed)


def _require_all_classes(train_targets: Array, classes: Sequence[str], option: str) -> None:
    """Raise BadDataError if a split by group or time leaves no training row of a class."""
    if not classes:
        return
    counts = np.bincount(train_targets, minlength=len(classes))
    if not counts.all():
        raise BadDataError(
            f"{option} leaves no training row of class {classes[int(counts.argmin())]!r}",
            "choose another column, or leave the option out for a random split",
        )


def _parse_times(values: pd.Series[Any]) -> Array:
    """Return the times of rows as numbers, in nanoseconds for dates."""
    cells = column_types.normalize_cells(values)
    if cells.isna().any():
        row = cells.index[cells.isna()][0] + 1
        raise BadDataError(
            f"time={values.name}: row {row} has no value",
            "fill it in, or leave time= out for a random split",
        )
    if cells.dtype.kind == "f":
        numbers: Array = cells.to_numpy()
        return numbers
    date_format = column_types.detect_date_format(cells)
    dates = column_types.parse_dates(cells, date_format) if date_format else None
    if dates is None or dates.isna().any():
        raise BadDataError(
            f"time={values.name} holds neither numbers nor dates of one format", "choose another column"
        )
    nanoseconds: Array = dates.to_numpy().astype("datetime64[ns]").astype(np.int64)
    return nanoseconds
