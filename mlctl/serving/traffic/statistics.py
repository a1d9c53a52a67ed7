"""Two-sample statistics of live rows against a summary of training rows.

- Numbers: the Kolmogorov-Smirnov distance at the summary's quantiles, with Stephens' correction for small samples;
  the rank-sum test of Wilcoxon, Mann and Whitney, which sees a shift best; and Pearson's chi-squared test over ten
  quantile bins, which sees a change of spread best.
- Categories: Pearson's chi-squared test over the values, with all others as one.
- Missing values: a binomial test of the live share, given the missing values of both samples.

Both samples count with their number of rows, because the summary is a sample too. A feature's p-value is the smallest
of its tests, times their number (Bonferroni). `holm` then corrects for the number of features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlctl.serving.traffic.features import Array
from mlctl.serving.traffic.summary import LONGEST_NAME

BINS = 10
FEWEST_EXPECTED = 5.0  # rows of a cell in a chi-squared test; smaller cells are joined


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A live feature beside its summary: not yet corrected p-value, and sizes of the effect."""

    p_value: float
    psi: float
    moved: float
    shift: float | None


def compare(summary: Mapping[str, Any], live: Array, weight: float = 1.0) -> Comparison:
    """Return how a live sample (float64 with NaN, or objects with None) differs from a summary of training rows.

    Each live row counts as `weight` rows in the tests; less than 1 if rows are repeated.
    """
    compare_kind = _compare_categories if live.dtype == object else _compare_numbers
    return compare_kind(summary, live, weight)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm, 1979)."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def ks_p_value(distance: float, rows: float, other_rows: float) -> float:
    """Return the probability of at least this Kolmogorov-Smirnov distance between samples of one distribution."""
    from scipy.special import kolmogorov

    root = math.sqrt(rows * other_rows / (rows + other_rows))
    return float(kolmogorov((root + 0.12 + 0.11 / root) * distance))


def chi_squared_p_value(counts: Array, live_counts: Array) -> float:
    """Return the p-value of Pearson's chi-squared test of two samples' counts in the same cells."""
    from scipy.special import chdtrc

    counts, live_counts = _join_small_cells(counts, live_counts)
    rows, live_rows = counts.sum(), live_counts.sum()
    if len(counts) < 2 or not rows or not live_rows:
        return 1.0
    scale = math.sqrt(live_rows / rows)
    statistic = ((counts * scale - live_counts / scale) ** 2 / (counts + live_counts)).sum()
    return float(chdtrc(len(counts) - 1, statistic))


def rank_sum_p_value(counts: Array, live_counts: Array) -> float:
    """Return the p-value of the rank-sum test of two samples' counts in the same ordered cells, of equal rank each."""
    total = counts + live_counts
    rows, live_rows, all_rows = counts.sum(), live_counts.sum(), total.sum()
    if not rows or not live_rows or all_rows < 3:
        return 1.0
    ranks = np.cumsum(total) - total / 2 + 0.5
    ties = (total**3 - total).sum() / (all_rows * (all_rows - 1))
    variance = rows * live_rows / 12 * (all_rows + 1 - ties)
    if variance <= 0:
        return 1.0
    score = ((live_counts * ranks).sum() - live_rows * (all_rows + 1) / 2) / math.sqrt(variance)
    return math.erfc(abs(score) / math.sqrt(2))


def missing_p_values(missing: int, rows: int, live_missing: int, live_rows: int) -> list[float]:
    """Return the two-sided p-value of a live number of missing values, given that of both samples; [] without any."""
    from scipy.special import bdtr, bdtrc

    total, share = missing + live_missing, live_rows / (rows + live_rows)
    if not total:
        return []
    at_most = float(bdtr(live_missing, total, share))
    at_least = float(bdtrc(live_missing - 1, total, share)) if live_missing else 1.0
    return [min(1.0, 2 * min(at_most, at_least))]


def population_stability(counts: Array, live_counts: Array) -> float:
    """Return the population stability index: the sum of (q - p) ln(q / p) over shares p and q, 1/2 row added to each."""
    shares = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    live_shares = (live_counts + 0.5) / (live_counts.sum() + 0.5 * len(counts))
    return float(((live_shares - shares) * np.log(live_shares / shares)).sum())


def _compare_numbers(summary: Mapping[str, Any], live: Array, weight: float) -> Comparison:
    found = np.sort(live[np.isfinite(live)])
    rows, live_rows = summary["rows"], len(live)
    missing, live_missing = summary["missing"], live_rows - len(found)
    p_values = missing_p_values(missing, rows, round(weight * live_missing), round(weight * live_rows))
    moved, shift, counts, live_counts = 0.0, None, np.zeros(0), np.zeros(0)
    if rows > missing:
        known = rows - missing
        up_to, below = np.array(summary["up_to"], float), np.array(summary["below"], float)
        points = np.array(summary["points"], np.float64)
        if len(found):
            live_up_to = np.searchsorted(found, points, "right")
            live_below = np.searchsorted(found, points, "left")
            distances = up_to / known - live_up_to / len(found), below / known - live_below / len(found)
            moved = float(max(np.abs(distance).max() for distance in distances))
            shift = _shift(summary, found)
            p_values.append(ks_p_value(moved, known, weight * len(found)))
            live_cells = weight * _cells(live_below, live_up_to, len(found))
            p_values.append(rank_sum_p_value(_cells(below, up_to, known), live_cells))
        counts, live_counts = _bin(summary, found)
        p_values += [chi_squared_p_value(counts, weight * live_counts)] if len(found) else []
    return Comparison(
        p_value=_smallest(p_values),
        psi=population_stability(np.append(counts, missing), np.append(live_counts, live_missing)),
        moved=max(moved, abs(missing / rows - live_missing / live_rows)),
        shift=shift,
    )


def _smallest(p_values: Sequence[float]) -> float:
    """Return the smallest p-value of several tests of the same rows, corrected for their number."""
    return min(1.0, len(p_values) * min(p_values)) if p_values else 1.0


def _cells(below: Array, up_to: Array, rows: int) -> Array:
    """Return the rows below the first point, at it, between it and the second point, and so on."""
    return np.diff(np.stack([below, up_to], axis=1).ravel(), prepend=0, append=rows).astype(float)


def _shift(summary: Mapping[str, Any], found: Array) -> float | None:
    difference, spread = float(found.mean()) - float(summary["mean"]), float(summary["std"])
    if spread > 0:
        return difference / spread
    return None if difference else 0.0


def _bin(summary: Mapping[str, Any], found: Array) -> tuple[Array, Array]:
    """Return the rows of both samples in at most ten bins of about equally many training rows."""
    points, up_to = np.array(summary["points"]), np.array(summary["up_to"])
    rows = summary["rows"] - summary["missing"]
    # points are rounded, so that the last one may be below some rows
    edges = np.unique(np.searchsorted(up_to, rows * np.arange(1, BINS) / BINS).clip(max=len(points) - 1))
    counts = np.diff(up_to[edges], prepend=0, append=rows)
    live_up_to = np.searchsorted(found, points[edges], side="right")
    return counts.astype(float), np.diff(live_up_to, prepend=0, append=len(found)).astype(float)


def _compare_categories(summary: Mapping[str, Any], live: Array, weight: float) -> Comparison:
    values: Mapping[str, int] = summary["values"]
    counts = np.array([*values.values(), summary["rest"]], float)
    live_counts = count_categories(summary, live)
    rows, live_rows, missing = summary["rows"], len(live), summary["missing"]
    live_missing = live_rows - int(live_counts.sum())
    p_values = missing_p_values(missing, rows, round(weight * live_missing), round(weight * live_rows))
    p_values.append(chi_squared_p_value(counts, weight * live_counts))
    shares, live_shares = np.append(counts, missing) / rows, np.append(live_counts, live_missing) / live_rows
    return Comparison(
        p_value=_smallest(p_values),
        psi=population_stability(np.append(counts, missing), np.append(live_counts, live_missing)),
        moved=float(np.abs(shares - live_shares).sum() / 2),
        shift=None,
    )


def count_categories(summary: Mapping[str, Any], live: Array) -> Array:
    """Return the live rows of each value in a summary, and of all others together; without missing values."""
    place_of = {name: place for place, name in enumerate(summary["values"])}
    places = [
        place_of.get(value[:LONGEST_NAME], len(place_of)) for value in live.tolist() if value is not None
    ]
    return np.bincount(np.array(places, np.int64), minlength=len(place_of) + 1).astype(float)


def _join_small_cells(counts: Array, live_counts: Array) -> tuple[Array, Array]:
    """Join cells, the smallest first, until both samples can be expected to have five rows in each."""
    total = counts + live_counts
    share = min(counts.sum(), live_counts.sum()) / max(1.0, total.sum())
    order = np.argsort(total, kind="stable")
    expected = np.cumsum((total * share)[order])
    # the smallest cells that are too small become one, with as many others as it needs to be large enough
    small = int(((total * share) < FEWEST_EXPECTED).sum())
    if not small:
        return counts, live_counts
    joined = max(small, int(np.searchsorted(expected, FEWEST_EXPECTED)) + 1)
    parts = (counts[order], live_counts[order])
    first, second = (np.append(part[:joined].sum(), part[joined:]) for part in parts)
    return first, second
