"""A user's own table as a Dataset: column kinds, task and splits are found, and everything found is said.

    read(path, target, options) -> Dataset

`options` are the tabular recipe's values (a mapping; what is absent has its default):

| option | meaning |
| --- | --- |
| task | auto, regression, binary, multiclass |
| column.NAME | a kind of `columns.KINDS`, in place of the one that is found |
| group | a column whose rows of one value all go to one split (a patient, a customer); it is no feature |
| time | a column by which rows are ordered: the newest are the test split, those before them validation |
| split_seed | deals the rows out: 64 % training, 16 % validation, 20 % test; by class where there are any |
| header | auto, true, false |

Of the Dataset: `inputs` are DataFrames as a client sends them (float64 with NaN, bool, str with None), dropped
columns left out; `targets` are class numbers or values; `extra` holds "columns" (name -> kind), "formats"
(date column -> its format) and "share" (each class's share of the training rows); `notes` says what was
found, one line each, to be shown before training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data import splits
from mlctl.data.dataset import Dataset, Split, take
from mlctl.data.sources import locate
from mlctl.data.tables import column_types, findings, leakage, reader
from mlctl.data.tables.column_types import DATE, DROP
from mlctl.errors import BadDataError, UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

FRACTIONS = (0.64, 0.16, 0.20)
FEWEST_ROWS, FEWEST_OF_A_CLASS, MOST_CLASSES = 20, 5, 1000
CLASS_NUMBERS = 20  # whole numbers of at most so many values are classes, where each has rows enough
CLASS_WORDS = (
    "None",
    "none",
    "NONE",
    "missing",
    "Missing",
)  # read as gaps, and yet what a class may be called

Array = np.ndarray[Any, Any]


def read(path: Path, target: str, options: Mapping[str, Any], said: str = "") -> Dataset:
    """Return a table's rows by split; `said` is where it came from, its path unless given.

    Raises BadDataError for what is no table or cannot be learned from, UsageError for a column or kind that
    is not there.
    """
    header = {"true": True, "false": False}.get(str(options.get("header", "auto")).lower())
    frame, layout = reader.read(path, header, (target,))
    rows = len(frame)
    target = _column(frame, "--target", target)
    frame[target], gaps = _with_words(path, header, frame[target])
    group, time = (
        _column(frame, f"{name}=", options[name]) if options.get(name) else "" for name in ("group", "time")
    )
    frame = frame[column_types.plain(frame[target]).notna()].reset_index(drop=True)
    targets, classes = _targets(frame[target], target, str(options.get("task", "auto")))
    told = {name.partition(".")[2]: str(kind) for name, kind in options.items() if name.startswith("column.")}
    if group:
        told.setdefault(group, DROP)
    inputs, found = column_types.typed(frame.drop(columns=target), told)
    if not len(inputs.columns):
        raise BadDataError(f"{path}: no column is left to learn from", "keep one: --set column.NAME=KIND")
    if len(frame) < FEWEST_ROWS:
        raise BadDataError(
            f"{path} has {len(frame)} rows with a {target}", f"at least {FEWEST_ROWS} are needed"
        )
    seed = int(options.get("split_seed", 7))
    parts = _dealt(frame, targets, bool(classes), group, time, seed)
    _check_dealt(targets, parts, classes, group, time)
    train, validation, test = (Split(take(inputs, part), targets[part]) for part in parts)
    share = np.bincount(train.targets, minlength=len(classes)) / len(train) if classes else np.zeros(0)
    notes = [
        f"{path.name}: {rows:,} rows ({layout})",
        *([f"{rows - len(frame):,} rows have no {target}{gaps}: left out"] if rows > len(frame) else []),
        *findings.of_target(target, targets, classes),
        *findings.of_columns(found, len(frame)),
        *findings.of_split(parts, group, time),
        *findings.of_twins(frame, parts),
        *findings.of_balance(classes, share, bool(options.get("balance"))),
        *leakage.warnings(train, bool(classes)),
    ]
    return Dataset(
        path.name.partition(".")[0], train, validation, test, tuple(classes),
        source=said or str(path), sha256=locate.sha256([path]), size_bytes=path.stat().st_size,
        split_seed=seed, notes=tuple(notes),
        extra={
            "columns": {one.name: one.kind for one in found if one.kind != DROP},
            "formats": {one.name: one.format for one in found if one.kind == DATE},
            "share": tuple(float(one) for one in share),
        },
    )  # fmt: skip


def _column(frame: pd.DataFrame, option: str, name: str) -> str:
    if name in frame:
        return name
    folded = {str(one).lower(): str(one) for one in frame.columns}
    if name.lower() in folded:
        return folded[name.lower()]
    near = did_you_mean(name, folded.values())
    raise UsageError(
        f"{option} {name}: the table has no such column",
        near or f"it has: {', '.join(map(str, frame.columns[:20]))}",
    )


def _targets(values: pd.Series[Any], name: str, task: str) -> tuple[Array, list[str]]:
    """Return class numbers and the classes' names, or values and no names."""
    plain = column_types.plain(values)
    numbers = column_types.numeric(plain)
    is_number = numbers.notna().mean() >= column_types.NEARLY_ALL
    if task == "regression" or (task == "auto" and is_number and not _few_whole(numbers.dropna())):
        if not is_number or numbers.isna().any():
            wrong = plain[numbers.isna()].iloc[0]
            raise BadDataError(
                f"the target {name} holds {str(wrong)[:40]!r}, which is no number", "mend the row"
            )
        if numbers.nunique() == 1:
            raise BadDataError(
                f"the target {name} is always {numbers.iloc[0]:g}", "there is nothing to learn"
            )
        return numbers.to_numpy(np.float64), []
    labels = plain.map(lambda one: f"{one:.15g}" if isinstance(one, float) else str(one))
    classes = sorted(set(labels), key=(lambda one: float(one)) if plain.dtype.kind == "f" else str)
    _check_classes(name, classes, labels.value_counts(), task)
    return labels.map({label: number for number, label in enumerate(classes)}).to_numpy(np.int64), classes


def _with_words(path: Path, header: bool | None, target: pd.Series[Any]) -> tuple[pd.Series[Any], str]:
    """Return the target with its class "None", or such, where that was read as a gap, and in words its gaps.

    Among numbers each word of a gap is one; among other words only those are that mean nothing else.
    """
    written = reader.written(path, str(target.name), header) if target.isna().any() else None
    if written is None:
        return target, ""
    gaps = target.isna() & (written != "")
    if target.dtype.kind not in "iuf":
        named = gaps & written.isin(CLASS_WORDS)
        target, gaps = target.where(~named, written), gaps & ~named
    words = sorted(set(written[gaps]))
    return target, f" ({', '.join(map(repr, words[:4]))})" if words else ""


def _few_whole(numbers: pd.Series[Any]) -> bool:
    distinct = numbers.nunique()
    if distinct == 2:
        return True
    whole = bool((numbers % 1 == 0).all())
    return whole and distinct <= CLASS_NUMBERS and int(numbers.value_counts().min()) >= FEWEST_OF_A_CLASS


def _check_classes(name: str, classes: Sequence[str], counts: pd.Series[Any], task: str) -> None:
    if len(classes) < 2:
        raise BadDataError(f"the target {name} is always {classes[0]}", "there is nothing to learn")
    if len(classes) > MOST_CLASSES or len(classes) > counts.sum() / 2:
        raise BadDataError(
            f"the target {name} has {len(classes):,} values in {counts.sum():,} rows: it is no class",
            "choose another --target",
        )
    if task == "binary" and len(classes) != 2:
        raise UsageError(f"task=binary, but {name} has {len(classes)} values", "say task=multiclass")
    rare = counts[counts < FEWEST_OF_A_CLASS]
    if len(rare):
        raise BadDataError(
            f"class {rare.index[0]!r} of {name} has {rare.iloc[0]} rows: too few for three splits",
            f"each class needs {FEWEST_OF_A_CLASS}: take its rows out, or say task=regression",
        )


def _dealt(
    frame: pd.DataFrame, targets: Array, classes: bool, group: str, time: str, seed: int
) -> tuple[Array, ...]:
    if group and time:
        raise UsageError("group= and time= are two ways to split", "give one of them")
    if time:
        order = np.argsort(_moments(frame[time], time), kind="stable")
        ends = np.rint(np.cumsum(FRACTIONS)[:-1] * len(order)).astype(int)
        return tuple(np.split(order, ends))
    if group:
        codes = frame[group].astype(str).factorize()[0]
        hands = splits.split_rows(int(codes.max()) + 1, seed, FRACTIONS)
        parts = tuple(np.flatnonzero(np.isin(codes, hand)) for hand in hands)
        if not all(map(len, parts)):
            raise BadDataError(
                f"group={group} has {codes.max() + 1} values: too few for three splits",
                "choose another column",
            )
        return parts
    if classes:
        return splits.split_rows_by_class(targets, seed, FRACTIONS)
    return splits.split_rows(len(frame), seed, FRACTIONS)


def _check_dealt(
    targets: Array, parts: Sequence[Array], classes: Sequence[str], group: str, time: str
) -> None:
    """Refuse a split by group or time that leaves nothing to learn a class from."""
    seen = np.bincount(targets[parts[0]], minlength=len(classes)) if classes else np.ones(1)
    if not seen.all():
        raise BadDataError(
            f"{'group' if group else 'time'}={group or time} leaves no row of class {classes[int(seen.argmin())]!r}"
            " to learn from",
            "split by another column, or at random: leave it out",
        )


def _moments(values: pd.Series[Any], name: str) -> Array:
    """Return what orders rows in time: a number, or nanoseconds of a date."""
    plain = column_types.plain(values)
    if plain.isna().any():
        raise BadDataError(f"time={name} has gaps", "fill them, or split at random: leave time= out")
    if plain.dtype.kind == "f":
        numbers: Array = plain.to_numpy()
        return numbers
    format = column_types.date_format(plain)
    moments = column_types.dates(plain, format) if format else None
    if moments is None or moments.isna().any():
        raise BadDataError(f"time={name} is neither numbers nor dates", "choose another column")
    found: Array = moments.to_numpy().astype("datetime64[ns]").astype(np.int64)
    return found
