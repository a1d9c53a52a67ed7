"""A user's own table as a Dataset: column types, task and splits are detected, and described in its findings.

Options of the tabular recipe:

| option | meaning |
| --- | --- |
| task | auto, regression, binary, multiclass |
| positive | the positive class of two, instead of the one that `class_order` chooses |
| rare | what becomes of a class with too few rows: train, other, drop; see `target_column` |
| column.NAME | the column's type, instead of the detected one: one of `column_types.TYPES` |
| split | a column that says which rows are for training, validation and test; it is not a feature |
| validation, test | other files with the rows of these splits |
| group | a column: rows with the same value (a patient, a customer) stay in one split; it is not a feature |
| time | a column: the newest rows become the test split, the next newest the validation split |
| weight | a column: how much each row counts in the loss and in weighted metrics; it is not a feature |
| split_seed | seed of the random split: 64 % training, 16 % validation, 20 % test; within each class, if any |
| header | auto, true, false |

In the Dataset, `inputs` are DataFrames as a client sends them (float64 with NaN, bool, str with None) without the
dropped columns. `extra` holds "columns" (name -> type), "formats" (date column -> format), "readings" (name -> `ColumnReading`), "share" (share of each
class in the training rows, 0 of one that is only trained on), "is_test_random", "is_ordered" (in time), and "groups" (the
group of each row by split) if there are groups. For `mlctl data check` it holds "described" (every `TableColumn`, also
of dropped columns) and "row_numbers" (the number of each row in its file, from 1, by split).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data import splits
from mlctl.data.dataset import Dataset, Split
from mlctl.data.finding import Finding
from mlctl.data.tables import column_findings, findings, leakage, reader, target_column
from mlctl.data.tables.column_names import match_names
from mlctl.data.tables.column_types import DATE, DROP, ReadingOptions
from mlctl.data.tables.convert_columns import convert_columns
from mlctl.data.tables.label_column import find_column
from mlctl.data.tables.table_splits import SplitColumns, read_split_names, split_table
from mlctl.data.trees import take_rows
from mlctl.errors import BadDataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 20

Array = np.ndarray[Any, Any]


def load_table(
    path: Path,
    target: str,
    options: Mapping[str, Any],
    *,
    source: str = "",
    validation: Path | None = None,
    test: Path | None = None,
) -> Dataset:
    """Return a table's rows by split.

    Raises BadDataError if the file is not a table or is not suitable for training, UsageError for a column or type
    that does not exist.

    Args:
        path: File of the table.
        target: Name of the column to predict.
        options: Values of the recipe's options; those left out have their default.
        source: Where the table comes from, if not from `path`.
        validation: File with the validation rows; None chooses them from `path`.
        test: File with the test rows; None chooses them from `path`.
    """
    header = {"true": True, "false": False}.get(str(options.get("header", "auto")).lower())
    files = [(split, file) for split, file in ((splits.VALIDATION, validation), (splits.TEST, test)) if file]
    sheet = str(options.get("sheet") or "")
    table, found = _read(path, header, target, sheet)
    all_names = list(map(str, table.columns))
    set_by_user = ReadingOptions.of(options).match(all_names)
    set_by_user.check(all_names)
    target = find_column(list(table.columns), "--target ", target)
    table, published, more = append_files(table, files, target=target, header=header)
    found += more
    names = list(table.columns)
    numbers = _number_rows(published)
    split, group, time, weight = (
        find_column(names, f"{option}=", options[option]) if options.get(option) else ""
        for option in ("split", "group", "time", "weight")
    )
    columns_of_splits = SplitColumns(split=split, group=group, time=time)
    if weight in {target, split, group, time} - {""}:
        raise UsageError(f"weight={weight} is also another option's column", "choose a column of weights")
    unused = [name for name in (target, split, weight) if name]
    set_by_user.check(names, unused)
    if split and files:
        raise UsageError(
            f"split={split} and the files both say which rows validate and test", "leave one of them out"
        )
    if split:
        published = read_split_names(table[split])
    parsed = target_column.parse_target(
        table[target],
        task=str(options.get("task") or "auto"),
        rare=str(options.get("rare") or target_column.TRAIN_RARE),
        positive=str(options.get("positive") or ""),
        table=table,
        options=set_by_user,
    )
    frame, published = table[parsed.has_target], published[parsed.has_target]
    numbers = numbers[parsed.has_target]
    if len(frame) < MIN_ROWS:
        raise BadDataError(f"{path} has {len(frame)} rows with a {target}", f"at least {MIN_ROWS} are needed")
    types = {group: DROP} if group and group not in set_by_user.types else {}
    weights = _parse_weights(frame[weight], frame) if weight else None
    inputs, columns = convert_columns(frame.drop(columns=unused), types, set_by_user.without_sentinel(target))
    if not len(inputs.columns):
        raise BadDataError(
            f"{path}: mlctl drops all columns besides the target", "keep one: --set column.NAME=TYPE"
        )
    seed = int(options.get("split_seed", splits.SPLIT_SEED))
    parts = split_table(frame, parsed, columns_of_splits, published=published, seed=seed)
    targets, classes = parsed.values, parsed.classes
    _require_all_classes(targets[parts.rows[0]], classes, columns_of_splits)
    by_split = [
        Split(take_rows(inputs, rows), targets[rows], None if weights is None else weights[rows])
        for rows in parts.rows
    ]
    shares = _shares_of_classes(parsed, parts.rows[0])
    found += [
        *findings.describe_target(target, targets, classes),
        *parsed.findings,
        *findings.describe_columns(columns, len(frame)),
        *column_findings.describe_readings(columns),
        findings.describe_splits(parts.rows, parts.method),
        *findings.find_duplicates(frame.drop(columns=[split] if split else []), parts.rows),
        *findings.find_imbalance(target, classes, shares, balance=_is_balanced(options)),
        *(
            [Finding(kind="weights", columns=(weight,), text=f"weights of rows: column {weight}")]
            if weight
            else []
        ),
        *leakage.find_leaks(by_split[0], classification=bool(classes)),
    ]
    train, validation_rows, test_rows = by_split
    sha256, size_bytes = reader.combined_digest(
        [path, *(file for _, file in files)], header=header, sheet=sheet
    )
    return Dataset(
        path.name.partition(".")[0],
        train,
        validation_rows,
        test_rows,
        classes=classes,
        source=source or str(path),
        sha256=sha256,
        size_bytes=size_bytes,
        split_seed=None if len(files) == 2 else seed,
        findings=tuple(found),
        notes=tuple(finding.note for finding in found),
        extra={
            "columns": {column.name: column.type for column in columns if column.type != DROP},
            "formats": {column.name: column.format for column in columns if column.type == DATE},
            "readings": {column.name: column.reading for column in columns if column.reading is not None},
            "described": tuple(columns),
            "row_numbers": tuple(numbers[rows] for rows in parts.rows),
            "target_reading": parsed.reading,
            "share": tuple(float(share) for share in shares),
            "is_test_random": parts.is_test_random,
            "is_ordered": bool(time),
            **({} if parts.groups is None else {"groups": tuple(parts.groups[rows] for rows in parts.rows)}),
        },
    )


def _read(
    path: Path, header: bool | None, target: str, sheet: str = ""
) -> tuple[pd.DataFrame, list[Finding]]:
    """Return a table, and what was found in its file."""
    content = reader.read(path, header=header, known_names=(target,), sheet=sheet)
    table, format = content.frame, content.description
    return table, [
        Finding(kind="file", text=f"{path.name}: {len(table):,} rows ({format})", rows=len(table)),
        *(Finding(kind="file", text=note) for note in content.notes),
    ]


def append_files(
    table: pd.DataFrame, files: Sequence[tuple[int, Path]], *, target: str, header: bool | None = None
) -> tuple[pd.DataFrame, Array, list[Finding]]:
    """Return the rows of all files, the split of each row, and what was found in the other files.

    Raises BadDataError if a file lacks a column of the table.

    Args:
        table: The rows of the training file.
        files: The split and the path of each other file.
        target: The column to predict.
        header: Whether the first row holds the column names; None detects it.
    """
    import pandas as pd

    tables, published, found = [table], [np.full(len(table), splits.TRAIN)], []
    for split, file in files:
        other, notes = _read(file, header, target)
        other = other.rename(columns=match_names(list(map(str, other)), list(map(str, table))))
        if target not in other:
            raise BadDataError(
                f"{file} has no column {target}, so it cannot score a model",
                f"leave it out here; mlctl predict MODEL {file} answers its rows",
            )
        missing = [name for name in table if name not in other]
        if missing:
            raise BadDataError(
                f"{file} lacks the column {missing[0]} of the training file", "use files of the same columns"
            )
        tables.append(other[list(table.columns)])
        published.append(np.full(len(other), split))
        found += notes
    if len(tables) == 1:
        return table, published[0], found
    return pd.concat(tables, ignore_index=True), np.concatenate(published), found


def _number_rows(file_of_row: Array) -> Array:
    """Return the number of each row in its file, from 1; the rows of a file follow each other."""
    starts = np.flatnonzero(np.diff(file_of_row, prepend=-1))
    sizes = np.diff(starts, append=len(file_of_row))
    numbers: Array = np.arange(len(file_of_row)) - np.repeat(starts, sizes) + 1
    return numbers


def _shares_of_classes(target: target_column.Target, train: Array) -> Array:
    """Return the share of each class in the training rows, 0 of a class that is only trained on."""
    if not target.classes:
        return np.zeros(0)
    counts = np.bincount(target.values[train], minlength=len(target.classes)).astype(float)
    counts[np.unique(target.values[target.is_rare])] = 0
    shares: Array = counts / max(1.0, counts.sum())
    return shares


def _is_balanced(options: Mapping[str, Any]) -> bool:
    return bool(options.get("class_weight") == "balanced")


def _parse_weights(values: pd.Series[Any], table: pd.DataFrame) -> Array:
    """Return the weights of rows: float32 (n,)."""
    numbers, _ = target_column.read_numbers(values, table)
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


def _require_all_classes(train_targets: Array, classes: Sequence[str], columns: SplitColumns) -> None:
    """Raise BadDataError if there is no training row of a class."""
    if not classes:
        return
    counts = np.bincount(train_targets, minlength=len(classes))
    if not counts.all():
        option = next(
            (f"{name}={value}" for name, value in vars(columns).items() if value), "the training file"
        )
        raise BadDataError(
            f"{option} leaves no training row of class {classes[int(counts.argmin())]!r}",
            "choose other rows for training, or leave the option out for a random split",
        )
