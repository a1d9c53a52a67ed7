"""The column to predict: which rows have a target, and its classes or values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.class_order import describe_positive, order_classes
from mlctl.data.dataset import class_indices
from mlctl.data.finding import Finding
from mlctl.data.splits import MIN_ROWS_PER_CLASS
from mlctl.data.tables import column_types, date_columns, number_columns
from mlctl.data.tables.column_types import ReadingOptions
from mlctl.data.tables.convert_cells import normalize_cells
from mlctl.data.tables.number_columns import NumberColumn
from mlctl.data.tables.number_remarks import how_numbers_are_read
from mlctl.domain.column_reading import NUMBER, ColumnReading, as_text
from mlctl.domain.missing_values import MISSING_WORDS
from mlctl.domain.numbers import parse_number
from mlctl.domain.short_texts import list_some
from mlctl.domain.written_numbers import split_number
from mlctl.errors import BadDataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

MAX_CLASSES = 1000
MAX_NUMERIC_CLASSES = 20  # more distinct whole numbers are a regression
# a column of numbers with a few words: at least this share are numbers, and the words are few
MIN_NUMBERS, MAX_WORDS = 0.5, 5
MAX_LISTED = 4
# words that stand for a missing value in other columns, but are plausible names of a class
CLASS_WORDS = frozenset({"None", "none", "NONE", "missing", "Missing"})
TRAIN_RARE, OTHER, DROP_RARE = "train", "other", "drop"

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The targets of a table.

    Attributes:
        has_target: Which rows of the table have a target, (rows,) bool; the others are left out.
        values: Class indices or values of the rows that have one, (n,).
        classes: Names of the classes in order, of two the positive one last; () for a regression.
        is_rare: Which of these rows are of a class that is too rare for three splits, (n,) bool.
        findings: What was found in the column.
        reading: How its numbers are read, of a regression.
    """

    name: str
    has_target: Array
    values: Array
    classes: tuple[str, ...]
    is_rare: Array
    findings: tuple[Finding, ...]
    reading: ColumnReading | None = None


def parse_target(
    cells: pd.Series[Any],
    *,
    task: str = "auto",
    rare: str = TRAIN_RARE,
    positive: str = "",
    table: pd.DataFrame | None = None,
    options: ReadingOptions | None = None,
) -> Target:
    """Return the targets of a column.

    A column of numbers is a regression, unless it has two values, or few whole ones with enough rows each. In a
    column of numbers a word is a missing value, also if it is many of the cells, and so is a number such as -999.

    Raises BadDataError if the column is empty or has one value, UsageError if an option does not fit it.

    Args:
        cells: The column as `reader.read` returns it.
        task: auto, regression, binary or multiclass.
        rare: What becomes of the rows of a class with fewer than `MIN_ROWS_PER_CLASS` rows: train (they are only
            trained on), other (they become one class), drop (they are left out).
        positive: The positive class of two; "" chooses it.
        table: The table, whose other columns help to tell decimal commas from commas between thousands.
        options: What the user sets about numbers such as -999.
    """
    name = str(cells.name)
    filled, words = mark_missing(normalize_cells(cells))
    if not filled.notna().any():
        raise BadDataError(f"the target {name} is empty", "choose another column with --target")
    numbers, found = read_numbers(filled, table)
    if task == "regression" or (task == "auto" and _is_regression(filled, numbers)):
        words += sorted(set(filled[filled.isin(CLASS_WORDS)]))
        filled = filled.where(~filled.isin(CLASS_WORDS), None)
        reading = found.reading if found is not None else None
        remarks = how_numbers_are_read(found) if found is not None else ()
        sentinels = _find_sentinels(name, numbers, options or ReadingOptions())
        if sentinels:
            is_gap = numbers.isin(sentinels)
            words = [*map(as_text, sentinels), *words]
            numbers, filled = numbers.mask(is_gap), filled.where(~is_gap, None)
            reading = replace(reading or ColumnReading(kind=NUMBER), sentinels=sentinels)
        target = _values(name, filled, numbers, words=words, positive=positive)
        if sentinels and name not in (options or ReadingOptions()).sentinels:
            shown = " and ".join(map(as_text, sentinels))
            remarks = (
                *remarks,
                f"{shown} is read as missing (to keep it as a number: --set sentinels=false)",
            )
        findings = tuple(Finding(kind="reading", columns=(name,), text=f"{name}: {text}") for text in remarks)
        return replace(target, reading=reading, findings=(*target.findings, *findings))
    return _classes(name, filled, task=task, rare=rare, positive=positive, words=words)


def _find_sentinels(name: str, numbers: pd.Series[Any], options: ReadingOptions) -> tuple[float, ...]:
    """Return the numbers of a regression's target that stand for a missing value."""
    if name in options.sentinels:
        value = options.sentinels[name]
        return () if value is None else (value,)
    if not options.finds_sentinels:
        return ()
    return number_columns.find_sentinels({name: numbers.to_numpy(np.float64)}).get(name, ())


def mark_missing(cells: pd.Series[Any]) -> tuple[pd.Series[Any], list[str]]:
    """Return the cells of a target with None for words such as "NA", and these words.

    "None" and "missing" are classes here, and "-" is one beside "+".
    """
    if cells.dtype.kind == "f":
        return cells, []
    gaps = MISSING_WORDS - CLASS_WORDS - ({"-"} if cells.isin(["+"]).any() else set())
    is_gap = cells.isin(gaps)
    words = sorted(set(cells[is_gap]))
    return cells.where(~is_gap, None), words


def _is_regression(filled: pd.Series[Any], numbers: pd.Series[Any]) -> bool:
    return is_numeric(filled, numbers) and not _are_classes(numbers.dropna())


def read_numbers(
    cells: pd.Series[Any], table: pd.DataFrame | None = None
) -> tuple[pd.Series[Any], NumberColumn | None]:
    """Return the cells of a target as numbers, NaN if they are none, and what was found in them."""
    import pandas as pd

    found = number_columns.read_numbers(cells, table)
    if found is None or not found.share:
        return pd.Series(np.nan, cells.index, name=cells.name), None
    return pd.Series(found.values, cells.index, name=cells.name), found


def is_numeric(filled: pd.Series[Any], numbers: pd.Series[Any]) -> bool:
    """Whether the cells of a target are numbers, with a few words at most."""
    filled = filled[filled.notna() & ~filled.isin(CLASS_WORDS)]
    share = numbers.notna().sum() / max(1, len(filled))
    if share >= number_columns.MIN_SHARE:
        return True
    words = filled[numbers[filled.index].isna()]
    has_many_numbers = numbers.nunique() > MAX_NUMERIC_CLASSES
    return bool(share >= MIN_NUMBERS and has_many_numbers and words.nunique() <= MAX_WORDS)


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


def _values(
    name: str, filled: pd.Series[Any], numbers: pd.Series[Any], *, words: Sequence[str], positive: str
) -> Target:
    if positive:
        raise UsageError(f"positive={positive}: {name} is a regression", "remove it: it is for two classes")
    wrong = filled[filled.notna() & numbers.isna()]
    _require_numbers(name, filled, numbers)
    has_target = numbers.notna().to_numpy()
    values: Array = numbers[has_target].to_numpy(np.float64)
    if len(np.unique(values)) == 1:
        raise BadDataError(
            f"the target {name} is always {values[0]:g}", "choose a column with different values"
        )
    return Target(
        name=name,
        has_target=has_target,
        values=values,
        classes=(),
        is_rare=np.zeros(len(values), bool),
        findings=tuple(_left_out(name, has_target, [*wrong.unique(), *words])),
    )


def _classes(
    name: str, filled: pd.Series[Any], *, task: str, rare: str, positive: str, words: Sequence[str]
) -> Target:
    has_target = filled.notna().to_numpy()
    labels, findings = to_labels(filled[has_target])
    counts = labels.value_counts()
    _check_number_of_classes(name, counts)
    is_rare = labels.isin(counts.index[counts < MIN_ROWS_PER_CLASS]).to_numpy()
    if is_rare.any():
        names = [str(label) for label in counts.index[counts < MIN_ROWS_PER_CLASS]]
        labels, has_target, is_rare, finding = _place_rare(name, labels, has_target, is_rare, rare, names)
        findings.append(finding)
    counts = labels.value_counts()
    usable = [label for label in counts.index if counts[label] >= MIN_ROWS_PER_CLASS]
    if len(usable) < 2:
        raise BadDataError(
            f"the target {name} has {len(usable)} classes with at least {MIN_ROWS_PER_CLASS} rows",
            "two are needed: add rows, or choose another column with --target",
        )
    if task == "binary" and len(counts) != 2:
        raise UsageError(f"task=binary, but {name} has {len(counts)} values", "use --set task=multiclass")
    ordered = sorted(
        counts.index, key=float if filled.dtype.kind == "f" and OTHER not in counts.index else str
    )
    classes, reason = order_classes({label: int(counts[label]) for label in ordered}, positive, name=name)
    if reason:
        text = describe_positive(classes, reason, "" if positive else f"--set positive={_quoted(classes[0])}")
        findings.append(Finding(kind="positive", columns=(name,), text=text))
    index_of = {label: index for index, label in enumerate(classes)}
    return Target(
        name=name,
        has_target=has_target,
        values=labels.map(index_of).to_numpy(np.int64),
        classes=tuple(classes),
        is_rare=is_rare,
        findings=(*_left_out(name, filled.notna().to_numpy(), words), *findings),
    )


def _quoted(name: str) -> str:
    return name if name.isalnum() else repr(name)


def to_labels(cells: pd.Series[Any]) -> tuple[pd.Series[Any], list[Finding]]:
    """Return cells without gaps as names of classes, and what was found.

    The number 1.0 becomes "1". Classes that differ only in case or in a point at their end become one, with the most
    frequent spelling. true and false are written in lower case, as booleans of other formats are.
    """
    labels = format_labels(cells)
    spellings: dict[str, list[str]] = {}
    for label in labels.value_counts().index:  # the most frequent first
        spellings.setdefault(class_key(str(label)), []).append(str(label))
    if set(spellings) <= {"true", "false"}:
        return labels.map(str.lower), []
    merged = [found for found in spellings.values() if len(found) > 1]
    if not merged:
        return labels, []
    names = {label: found[0] for found in merged for label in found}
    text = f"{cells.name}: one class each: {'; '.join(' and '.join(found) for found in merged[:MAX_LISTED])}"
    return labels.map(lambda label: names.get(label, label)), [
        Finding(kind="target", columns=(str(cells.name),), text=text)
    ]


def class_key(label: str) -> str:
    """Return what the spellings of a class have in common: "Yes" and "yes", or "<=50K" and "<=50K."."""
    return label.casefold().rstrip(". ") or label


def format_labels(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Return labels as texts; in a column of plain numbers, 1.0 becomes "1"."""
    if cells.dtype.kind == "f":
        numbers = {cell: cell for cell in cells.dropna().unique()}
    else:
        numbers = {cell: parse_number(cell) for cell in cells.dropna().unique()}
    names = {cell: f"{float(number):.15g}" for cell, number in numbers.items() if number is not None}
    if len(names) < len(numbers):
        return cells
    return cells.map(names).astype(object)


def read_labels(
    cells: pd.Series[Any],
    *,
    classes: Sequence[str],
    model: str,
    rare: str = TRAIN_RARE,
    reading: ColumnReading | None = None,
) -> tuple[Array, Array]:
    """Return which rows have a label (bool), and these labels as a trained model has them.

    Labels become class indices, or values if the model has no classes. A cell that is written exactly as a class is
    named belongs to this class, even if the cell could also be a missing value or another number; otherwise upper
    and lower case are the same.

    Raises BadDataError for an unknown class, for texts instead of numbers, and if no row has a label.

    Args:
        cells: The column as `reader.read` returns it.
        classes: The model's classes; () for a regression.
        model: What messages call the model.
        rare: What training did with rare classes: other puts unknown ones into the class of this name, drop leaves
            them out.
        reading: How training read the numbers of this column; None finds it.
    """
    filled = normalize_cells(cells)
    if not classes:
        numbers, _ = read_numbers(filled)
        if reading is not None and reading.sentinels:
            numbers = numbers.mask(numbers.isin(reading.sentinels))
            filled = filled.where(~filled.map(reading.is_gap), np.nan if filled.dtype.kind == "f" else None)
        if reading is not None and filled.dtype.kind != "f":
            numbers = numbers.mask(numbers.notna() | filled.notna(), reading.read(filled))
        _require_numbers(str(cells.name), filled, numbers)
        has_label = numbers.notna().to_numpy()
        values: Array = numbers[has_label].to_numpy(np.float64)
        return has_label, values
    labels = format_labels(mark_missing(filled)[0])
    by_key = {class_key(name): name for name in classes}
    labels = labels.map(
        lambda label: label if label in classes else by_key.get(class_key(label), label), na_action="ignore"
    )
    labels = labels.where(~filled.isin(classes), filled)
    if rare == OTHER and OTHER in classes:
        labels = labels.where(labels.isna() | labels.isin(classes), OTHER)
    elif rare == DROP_RARE:
        labels = labels.where(labels.isin(classes), None)
    has_label = labels.notna().to_numpy()
    if not has_label.any():
        raise BadDataError(f"column {cells.name} is empty", "add the labels to compare predictions with")
    return has_label, class_indices(labels[has_label], classes, model)


def _require_numbers(name: str, filled: pd.Series[Any], numbers: pd.Series[Any]) -> None:
    """Raise BadDataError if most cells are no numbers."""
    wrong = filled[filled.notna() & numbers.isna()]
    if not filled.notna().any():
        raise BadDataError(f"column {name} is empty", "add the labels to compare predictions with")
    if len(wrong) > column_types.MIN_SHARE_OF_SET_TYPE * filled.notna().sum():
        cell = next((cell for cell in wrong if split_number(cell) is None), wrong.iloc[0])
        raise BadDataError(
            f"target {name}, row {wrong.index[wrong == cell][0] + 1}: found {cell[:40]!r}, expected a number",
            "most of its cells are no numbers: check that this is the right column",
        )


def _check_number_of_classes(name: str, counts: pd.Series[Any]) -> None:
    if len(counts) < 2:
        raise BadDataError(
            f"the target {name} is always {counts.index[0]}", "choose a column with different values"
        )
    if len(counts) > MAX_CLASSES or len(counts) > counts.sum() / 2:
        cells = [str(cell) for cell in counts.index]
        if date_columns.detect_date_format(cells, number_columns.MIN_SHARE).format:
            raise BadDataError(
                f"the target {name} holds dates, which mlctl does not predict",
                "turn them into numbers, such as days, or choose another column with --target",
            )
        raise BadDataError(
            f"the target {name} has {len(counts):,} different values in {counts.sum():,} rows:"
            " too many for classes",
            "choose another column with --target",
        )


def _place_rare(
    name: str, labels: pd.Series[Any], has_target: Array, is_rare: Array, rare: str, names: Sequence[str]
) -> tuple[pd.Series[Any], Array, Array, Finding]:
    """Return the labels, which rows of the table have one, which of these are rare, and what was done."""
    listed = list_some(names, MAX_LISTED)
    subject = f"class {listed}" if len(names) == 1 else f"{len(names)} classes ({listed})"
    rows = int(is_rare.sum())
    has_few = (
        f"{subject} of {name} {'has' if len(names) == 1 else 'have'} fewer than {MIN_ROWS_PER_CLASS} rows"
    )
    if rare == DROP_RARE:
        kept = has_target.copy()
        kept[np.flatnonzero(has_target)[is_rare]] = False
        done, labels = f"{_rows(rows)} left out", labels[~is_rare]
        has_target, is_rare = kept, np.zeros(len(labels), bool)
    elif rare == OTHER:
        labels = labels.where(~is_rare, OTHER)
        done = f"together they are the class {OTHER}"
        is_rare = (labels == OTHER).to_numpy() & (int((labels == OTHER).sum()) < MIN_ROWS_PER_CLASS)
    else:
        done = f"{_rows(rows)} put into training, none into validation and test (to change: --set rare=other|drop)"
    finding = Finding(
        kind="rare", columns=(name,), rows=rows, text=f"{has_few}: {done}", is_warning=rare == TRAIN_RARE
    )
    return labels, has_target, is_rare, finding


def _left_out(name: str, has_target: Array, words: Sequence[Any]) -> list[Finding]:
    rows = int((~has_target).sum())
    if not rows:
        return []
    listed = ", ".join(repr(str(word)) for word in words[:MAX_LISTED])
    text = f"{_rows(rows)} {'has' if rows == 1 else 'have'} no {name}{f' ({listed})' if listed else ''}: left out"
    return [Finding(kind="target", columns=(name,), rows=rows, text=text)]


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
