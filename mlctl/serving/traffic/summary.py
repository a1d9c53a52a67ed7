"""Compact summaries of one feature: what drift compares live values with.

A number is summarised by its quantiles with the exact number of rows up to each of them, so that a live sample is
compared with what the rows were, and not with an interpolation. A category is summarised by the rows of its most
frequent values. Summaries are plain JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlctl.serving.traffic.features import Array

QUANTILES = 101
MOST_VALUES = 40  # of a category that are counted each; the others are the rest
SURE_ROWS = 5  # of each value of a category, so that a new value is unlikely
LONGEST_NAME = 80
REST = "other values"

Summary = dict[str, Any]


def summarise(values: Array, quantiles: int = QUANTILES) -> Summary:
    """Return the summary of a feature: of numbers (float64 with NaN), or of categories (objects with None)."""
    return _summarise_categories(values) if values.dtype == object else _summarise_numbers(values, quantiles)


def _summarise_numbers(values: Array, quantiles: int) -> Summary:
    """Summarise numbers.

    `points` are quantiles, `up_to` the number of rows that are at most as large as each, `below` the number of rows
    that are smaller.
    """
    found = np.sort(values[np.isfinite(values)])
    summary: Summary = {"kind": "number", "rows": len(values), "missing": len(values) - len(found)}
    if not len(found):
        return summary
    points = np.unique(np.quantile(found, np.linspace(0, 1, quantiles), method="inverted_cdf"))
    rounded = np.unique([float(f"{point:.9g}") for point in points])
    return summary | {
        "mean": _short(found.mean()),
        "std": _short(found.std()),
        "low": _short(found[0]),
        "high": _short(found[-1]),
        "points": rounded.tolist(),
        "up_to": np.searchsorted(found, rounded, side="right").tolist(),
        "below": np.searchsorted(found, rounded, side="left").tolist(),
    }


def _summarise_categories(values: Array) -> Summary:
    """Summarise categories.

    If there are so many values that other rows are likely to have new ones, half of the rows chooses the values that
    are counted, and only the other half is counted: else the chosen values would be too frequent in the summary, and
    every live sample would seem to have drifted.
    """
    found = [value for value in values.tolist() if value is not None]
    rows, missing = len(values), len(values) - len(found)
    counts = Counter(found)
    chosen = [value for value, _ in counts.most_common(MOST_VALUES)]
    if len(counts) > MOST_VALUES or (counts and min(counts.values()) < SURE_ROWS):
        halves = found[::2], found[1::2]
        chosen = [value for value, _ in Counter(halves[0]).most_common(MOST_VALUES)]
        counts = Counter(halves[1])
        missing = round(missing * len(halves[1]) / max(1, len(found)))
        rows = len(halves[1]) + missing
    known = {value[:LONGEST_NAME]: counts[value] for value in chosen}
    rest = rows - missing - sum(known.values())
    return {"kind": "category", "rows": rows, "missing": missing, "values": known, "rest": rest}


def median(summary: Mapping[str, Any], share: float = 0.5) -> float:
    """Return the median of a number's summary, or another quantile."""
    rows = summary["rows"] - summary["missing"]
    place = int(np.searchsorted(summary["up_to"], share * rows))
    points: list[float] = summary["points"]
    return points[min(place, len(points) - 1)]


def _short(value: float) -> float:
    return float(f"{value:.7g}")
