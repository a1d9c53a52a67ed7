"""The splits of a table: by a column of split names, by files, by groups, by time, or at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data import splits
from mlctl.data.splits import TEST, TRAIN, VALIDATION
from mlctl.data.tables.convert_cells import normalize_cells, parse_dates
from mlctl.data.tables.date_columns import detect_date_format
from mlctl.data.tables.number_columns import MIN_SHARE
from mlctl.errors import BadDataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from mlctl.data.tables.target_column import Target

NAMES_OF_SPLITS = (
    ("train", "training", "trn", "tr", "fit"),
    ("val", "valid", "validation", "dev", "development", "eval"),
    ("test", "testing", "tst", "holdout", "hold-out", "hold_out"),
)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class SplitColumns:
    """Names of the columns that decide the splits; "" for none.

    Attributes:
        split: The column that says for each row which split it is in.
        group: Rows with the same value stay in one split.
        time: The newest rows become the test split.
    """

    split: str = ""
    group: str = ""
    time: str = ""

    def __post_init__(self) -> None:
        given = [f"{name}=" for name in ("split", "group", "time") if getattr(self, name)]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} cannot be used together", "leave one of them out")


@dataclass(frozen=True, kw_only=True)
class TableSplits:
    """The rows of each split.

    Attributes:
        rows: Row positions of training, validation and test.
        method: How they were chosen, in words; "" at random.
        is_test_random: Whether the test rows were chosen at random: then another choice is as good.
        groups: The group of each row of the table, (n,); None without groups.
    """

    rows: tuple[Array, ...]
    method: str = ""
    is_test_random: bool = True
    groups: Array | None = None


def split_table(
    frame: pd.DataFrame, target: Target, columns: SplitColumns, *, published: Array, seed: int
) -> TableSplits:
    """Split the rows that have a target.

    Args:
        frame: These rows.
        target: Their targets.
        columns: The columns that decide.
        published: TRAIN, VALIDATION or TEST for each row, as files or a split column say.
        seed: Seed of what is random.
    """
    if published.any():
        return _split_published(target, columns, published, seed)
    if columns.time:
        order = np.argsort(_parse_times(frame[columns.time]), kind="stable")
        return TableSplits(
            rows=splits.cut_rows(order),
            method=f"ordered by {columns.time}, newest last",
            is_test_random=False,
        )
    if columns.group:
        return _split_groups(frame[columns.group], columns.group, seed)
    return TableSplits(rows=_split_within_classes(target, published, seed))


def read_split_names(values: pd.Series[Any]) -> Array:
    """Return the split of each row, (n,): TRAIN, VALIDATION or TEST.

    Raises BadDataError for a value that is no name of a split, and if there are no training rows.
    """
    cells = normalize_cells(values)
    split_of = {name: split for split, names in enumerate(NAMES_OF_SPLITS) for name in names}
    found: Array = np.array([split_of.get(str(cell).strip().lower(), -1) for cell in cells], np.int64)
    if (found < 0).any():
        row = int(np.flatnonzero(found < 0)[0])
        raise BadDataError(
            f"split={values.name}: row {row + 1} has {cells.iloc[row]!r}, which names no split",
            "use train, validation and test",
        )
    if not (found == TRAIN).any():
        raise BadDataError(f"split={values.name} has no training rows", "write train for some of them")
    if (found == TRAIN).all():
        raise BadDataError(f"split={values.name} has training rows only", "leave it out for a random split")
    return found


def _split_published(target: Target, columns: SplitColumns, published: Array, seed: int) -> TableSplits:
    if columns.group or columns.time:
        option = "group=" if columns.group else "time="
        raise UsageError(f"{option} splits at random, but the splits are given", f"leave {option} out")
    rows = _split_within_classes(target, published, seed)
    random = [
        name for name, split in (("validation", VALIDATION), ("test", TEST)) if not (published == split).any()
    ]
    method = f"as {columns.split} says" if columns.split else "as the files are"
    if random:
        method += f", {random[0]} at random from training"
    return TableSplits(rows=rows, method=method, is_test_random="test" in random)


def _split_within_classes(target: Target, published: Array, seed: int) -> tuple[Array, ...]:
    return splits.complete_splits(published, seed, target.values if target.classes else None)


def _split_groups(values: pd.Series[Any], name: str, seed: int) -> TableSplits:
    codes = values.astype(str).factorize()[0]
    groups = splits.split_rows(int(codes.max()) + 1, seed)
    rows = tuple(np.flatnonzero(np.isin(codes, members)) for members in groups)
    if not all(map(len, rows)):
        raise BadDataError(
            f"group={name} has {codes.max() + 1} different values: too few for three splits",
            "choose another column",
        )
    return TableSplits(rows=rows, method=f"by group of {name}", groups=codes)


def _parse_times(values: pd.Series[Any]) -> Array:
    """Return the times of rows as numbers, in days for dates."""
    cells = normalize_cells(values)
    if cells.isna().any():
        row = cells.index[cells.isna()][0] + 1
        raise BadDataError(
            f"time={values.name}: row {row} has no value",
            "fill it in, or leave time= out for a random split",
        )
    if cells.dtype.kind == "f":
        times: Array = cells.to_numpy()
        return times
    found = detect_date_format(cells.astype(str).tolist(), MIN_SHARE)
    days = parse_dates(cells, found.format) if found.format else np.array([np.nan])
    if np.isnan(days).any():
        raise BadDataError(
            f"time={values.name} holds neither numbers nor dates of one format", "choose another column"
        )
    return days
