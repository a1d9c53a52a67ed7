"""The columns of a table: their values, distributions and outliers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.dataset import Dataset, Split
from mlctl.data.tables.column_types import BOOLEAN, DATE, DROP, NUMBER, TEXT, TableColumn
from mlctl.data.tables.convert_cells import parse_dates
from mlctl.domain.data_check import ColumnProfile
from mlctl.domain.drift import DistributionBin
from mlctl.serving.scoring import FALSE_WORDS, TRUE_WORDS

if TYPE_CHECKING:
    import pandas as pd

SINGLE_VALUES = 12  # numbers that have a bin each
BINS, LISTED_CATEGORIES = 20, 10
FAR = 10.0  # interquartile ranges from the quartiles, beyond which a value is an outlier
MAX_OUTLIERS, MAX_OUTLIER_SHARE = 3, 0.01  # more are a long tail
FEWEST_VALUES = 20  # to tell an outlier
DAYS_FROM_2000 = np.datetime64("2000-01-01")

Array = np.ndarray[Any, Any]


def profile_columns(data: Dataset) -> list[ColumnProfile]:
    """Return a profile of each column of a table, those that are dropped last."""
    described: Sequence[TableColumn] = data.extra.get("described", ())
    known = {column.name: column for column in described}
    rows = sum(data.splits.values())
    used = [
        _profile(data, str(name), data.extra.get("columns", {}).get(name, ""), known.get(str(name)))
        for name in data.train.inputs
    ]
    dropped = [
        ColumnProfile(
            name=column.name,
            type=DROP,
            reading=column.reason,
            missing=min(1.0, column.missing / max(1, rows)),
        )
        for column in described
        if column.type == DROP
    ]
    return used + dropped


def describe_values(values: Array) -> str:
    """Return the range and median of numbers."""
    low, high, median = (_number(value) for value in (values.min(), values.max(), np.median(values)))
    return f"{low} to {high}, median {median}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:.6g}"


def find_outliers(values: Array) -> Array:
    """Return the few numbers that are far outside all others, also on a logarithmic scale; the farthest first."""
    if len(np.unique(values)) < FEWEST_VALUES:
        return values[:0]
    far = _distance(values)
    if values.min() > 0:
        far = np.minimum(far, _distance(np.log(values)))
    found = np.flatnonzero(far > FAR)
    if not 0 < len(found) <= max(MAX_OUTLIERS, MAX_OUTLIER_SHARE * len(values)):
        return values[:0]
    return values[found[np.argsort(-far[found])]]


def _distance(values: Array) -> Array:
    """Return the distance of each value from the quartiles, in interquartile ranges."""
    low, high = np.quantile(values, [0.25, 0.75])
    distance: Array = np.maximum(low - values, values - high) / ((high - low) or np.inf)
    return distance


def _short_number(value: float) -> str:
    """Return a number with three digits, without an exponent unless it is very large or small."""
    short = float(f"{value:.3g}")
    return f"{short:,.0f}" if 1000 <= abs(short) < 1e9 else f"{short:.3g}"


def number_bins(
    train: Array, test: Array, *, name: Callable[[float], str] = _short_number
) -> list[DistributionBin]:
    """Return the shares of numbers in bins of equal width; the outer bins hold the highest and lowest percent.

    Few different numbers, such as 0 and 1, have a bin each. `name` writes a number.
    """
    values = np.unique(train)
    if len(values) <= SINGLE_VALUES:
        middles = (values[1:] + values[:-1]) / 2
        counts = (
            np.bincount(np.searchsorted(middles, part), minlength=len(values)) for part in (train, test)
        )
        return _bins([name(value) for value in values], *counts)
    low, high = np.quantile(train, [0.01, 0.99])
    if low == high:
        low, high = float(train.min()), float(train.max())
    edges = np.linspace(low, high, min(BINS, len(values)) + 1)
    names = [name(edge) for edge in edges[:-1]]
    return _bins(names, *(np.histogram(part.clip(low, high), edges)[0] for part in (train, test)))


def category_bins(train: Sequence[str], test: Sequence[str]) -> list[DistributionBin]:
    """Return the shares of the most frequent categories, and of all others together."""
    from collections import Counter

    counts, others = Counter(train), Counter(test)
    names = [name for name, _ in counts.most_common(LISTED_CATEGORIES)]
    parts = []
    for counter in (counts, others):
        listed = [counter[name] for name in names]
        parts.append(np.array([*listed, sum(counter.values()) - sum(listed)]))
    has_others = any(part[-1] for part in parts)
    return _bins([*names, "others"], *parts)[: len(names) + has_others]


def _bins(names: Sequence[str], train: Array, test: Array) -> list[DistributionBin]:
    shares, test_shares = train / max(1, train.sum()), test / max(1, test.sum())
    return [
        DistributionBin(name=name, trained=float(share), live=float(live))
        for name, share, live in zip(names, shares, test_shares, strict=True)
    ]


def as_numbers(values: pd.Series[Any], type: str, format: str = "") -> Array:
    """Return the values of a number, date or boolean column as float64 with NaN."""
    if type == DATE:
        return parse_dates(values.tolist(), format)
    if type == BOOLEAN and values.dtype == object:  # words such as Yes and No
        values = values.map(_truth, na_action="ignore")
    numbers: Array = values.astype("float64").to_numpy()
    return numbers


def _truth(cell: Any) -> float:
    word = str(cell).lower()
    return 1.0 if word in TRUE_WORDS else 0.0 if word in FALSE_WORDS else np.nan


def _profile(data: Dataset, name: str, type: str, column: TableColumn | None) -> ColumnProfile:
    import pandas as pd

    splits: list[Split] = [split for split in (data.train, data.validation, data.test) if split is not None]
    train, *others = [split.inputs[name] for split in splits]
    values = pd.concat([train, *others], ignore_index=True)
    test = others[-1] if others else values[:0]
    missing = float(values.isna().mean())
    if not type:  # a recipe's own table
        type = NUMBER if values.dtype.kind in "fiu" else BOOLEAN if values.dtype.kind == "b" else "category"
    summary, bins, distinct, outliers = "", [], None, np.zeros(0)
    if type in (NUMBER, DATE):
        format = data.extra.get("formats", {}).get(name, "")
        numbers, of_train, of_test = (as_numbers(part, type, format) for part in (values, train, test))
        numbers, of_train, of_test = (part[np.isfinite(part)] for part in (numbers, of_train, of_test))
        distinct = len(np.unique(numbers))
        if len(numbers):
            summary = describe_values(numbers) if type == NUMBER else _describe_dates(numbers)
            outliers = find_outliers(numbers) if type == NUMBER else outliers
        if len(of_train):
            bins = number_bins(of_train, of_test, name=_as_date if type == DATE else _short_number)
    elif type == TEXT:
        lengths = values.dropna().astype(str).str.split().str.len().to_numpy(float)
        distinct = int(values.nunique())
        if len(lengths):
            summary = f"{np.median(lengths):.0f} words, {lengths.max():.0f} at most"
            of_train = train.dropna().astype(str).str.split().str.len().to_numpy(float)
            bins = number_bins(of_train, test.dropna().astype(str).str.split().str.len().to_numpy(float))
    else:
        words, of_train_words, of_test_words = (_as_words(part) for part in (values, train, test))
        distinct = len(set(words))
        bins = category_bins(of_train_words, of_test_words)
        summary = ", ".join(f"{entry.name} {entry.trained:.0%}" for entry in bins[:3])
    return ColumnProfile(
        name=name,
        type=type,
        reading="; ".join(column.remarks) if column is not None else "",
        missing=missing,
        distinct=distinct,
        summary=summary,
        bins=bins,
        outliers=tuple(float(value) for value in outliers),
    )


def _as_words(values: pd.Series[Any]) -> list[str]:
    return [
        {True: "yes", False: "no"}.get(cell, str(cell)) if isinstance(cell, bool) else str(cell)
        for cell in values.dropna().tolist()
    ]


def _as_date(days: float) -> str:
    return str(DAYS_FROM_2000 + np.timedelta64(round(float(days) * 24 * 60), "m"))[:10]


def _describe_dates(days: Array) -> str:
    return f"{_as_date(np.floor(days.min()))} to {_as_date(np.floor(days.max()))}"
