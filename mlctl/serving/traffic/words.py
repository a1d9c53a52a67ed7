"""Drift in words: what of a feature moved, and from where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlctl.domain.short_texts import shorten
from mlctl.serving.traffic.features import Array
from mlctl.serving.traffic.statistics import count_categories
from mlctl.serving.traffic.summary import LONGEST_NAME, median

FEW_VALUES = 10  # up to so many different numbers are described by their shares of the rows
NOTABLE_SHIFT, NOTABLE_SHARE = 0.1, 0.02  # of a standard deviation; of the rows
SHOWN_NAME = 40


def describe(summary: Mapping[str, Any], live: Array, *, rows: str) -> str:
    """Return what moved in one line; `rows` is what shares are of: rows or answers."""
    if not len(live):
        return ""
    if live.dtype == object:
        missing = sum(value is None for value in live.tolist())
        parts = [_describe_missing(summary, missing, len(live)), _describe_category(summary, live, rows)]
    else:
        missing = int((~np.isfinite(live)).sum())
        parts = [
            _describe_missing(summary, missing, len(live)),
            _describe_number(summary, live[np.isfinite(live)], rows),
        ]
    return "; ".join(part for part in parts if part)


def percent(share: float) -> str:
    """Return a share in percent: 12 %, 0.4 %."""
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.0995 else f"{100 * share:.2g} %"


def number(value: float) -> str:
    """Return a number with three or four digits: 0.123, 34, 2004, 1,234,567."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"
    return f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def _describe_missing(summary: Mapping[str, Any], missing: int, rows: int) -> str:
    share, before = missing / rows, summary["missing"] / summary["rows"]
    if abs(share - before) < NOTABLE_SHARE:
        return ""
    return f"{percent(share)} missing, was {percent(before)}"


def _describe_number(summary: Mapping[str, Any], found: Array, rows: str) -> str:
    if not len(found):
        return ""
    if "points" not in summary:
        return f"median {number(float(np.median(found)))}, was never given"
    if len(summary["points"]) <= FEW_VALUES and _is_counted(summary):
        return _describe_few(summary, found, rows)
    spread = summary["std"] or abs(summary["mean"]) or 1.0
    middle, before = float(np.median(found)), median(summary)
    if abs(middle - before) >= NOTABLE_SHIFT * spread:
        return f"median {number(middle)}, was {number(before)}"
    mean = float(found.mean())
    if abs(mean - summary["mean"]) >= NOTABLE_SHIFT * spread:
        return f"mean {number(mean)}, was {number(summary['mean'])}"
    low, high = (float(np.quantile(found, share)) for share in (0.25, 0.75))
    was_low, was_high = median(summary, 0.25), median(summary, 0.75)
    if abs((high - low) - (was_high - was_low)) >= NOTABLE_SHIFT * spread:
        return f"middle half {number(low)} to {number(high)}, was {number(was_low)} to {number(was_high)}"
    return f"median {number(middle)}, was {number(before)}"


def _is_counted(summary: Mapping[str, Any]) -> bool:
    """Whether the summary counts each number that the rows had."""
    return bool(np.array_equal(np.diff(summary["up_to"], prepend=0), _exact_counts(summary)))


def _exact_counts(summary: Mapping[str, Any]) -> Array:
    counts: Array = np.array(summary["up_to"]) - np.array(summary["below"])
    return counts


def _describe_few(summary: Mapping[str, Any], found: Array, rows: str) -> str:
    """Describe the number whose share of the rows has changed most."""
    points, counts = np.array(summary["points"]), _exact_counts(summary)
    shares = counts / (summary["rows"] - summary["missing"])
    live_shares = np.array([(found == point).mean() for point in points])
    new = 1 - live_shares.sum()
    place = int(np.abs(live_shares - shares).argmax())
    if new > abs(live_shares[place] - shares[place]):
        return f"median {number(float(np.median(found)))}, was {number(median(summary))}"
    name = f"{points[place]:g}"
    return f"{name} in {percent(live_shares[place])} of {rows}, was {percent(shares[place])}"


def _describe_category(summary: Mapping[str, Any], live: Array, rows: str) -> str:
    counts = np.array([*summary["values"].values(), summary["rest"]], float)
    live_counts = count_categories(summary, live)
    if not live_counts.sum():
        return ""
    shares, live_shares = counts / summary["rows"], live_counts / len(live)
    place = int(np.abs(live_shares - shares).argmax())
    if place < len(summary["values"]):
        name = shorten(list(summary["values"])[place], SHOWN_NAME)
    else:
        known = summary["values"]
        others = Counter(value for value in live.tolist() if value and value[:LONGEST_NAME] not in known)
        example = others.most_common(1)
        name = f"other values, such as {shorten(example[0][0], SHOWN_NAME)}" if example else "other values"
    return f"{name}: {percent(live_shares[place])} of {rows}, was {percent(shares[place])}"
