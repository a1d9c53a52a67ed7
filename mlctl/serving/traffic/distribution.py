"""The distributions of a feature, in training and live, in a few bins for a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.domain.drift import DistributionBin
from mlctl.serving.traffic.features import Array
from mlctl.serving.traffic.statistics import count_categories
from mlctl.serving.traffic.summary import REST, median
from mlctl.serving.traffic.words import number

BINS = 12
MISSING = "missing"


def distribution(summary: Mapping[str, Any], live: Array) -> list[DistributionBin]:
    """Return the shares of the rows in bins: ranges of numbers, or values, and missing values if there are any."""
    if live.dtype == object:
        counts = np.array([*summary["values"].values(), summary["rest"]], float)
        names, live_counts = [*summary["values"], REST], count_categories(summary, live)
        names, counts, live_counts = _largest(names, counts, live_counts)
        live_missing = int((live == None).sum())  # noqa: E711 - of each element
    else:
        found = np.sort(live[np.isfinite(live)])
        live_missing = len(live) - len(found)
        if "points" not in summary:
            return []
        names, counts, live_counts = _ranges(summary, found)
    if summary["missing"] or live_missing:
        names = [*names, MISSING]
        counts, live_counts = np.append(counts, summary["missing"]), np.append(live_counts, live_missing)
    shares, live_shares = counts / max(1, summary["rows"]), live_counts / max(1, len(live))
    return [
        DistributionBin(name=name, trained=round(float(share), 5), live=round(float(live_share), 5))
        for name, share, live_share in zip(names, shares, live_shares, strict=True)
    ]


def _ranges(summary: Mapping[str, Any], found: Array) -> tuple[list[str], Array, Array]:
    points, rows = np.array(summary["points"], np.float64), summary["rows"] - summary["missing"]
    up_to = np.array(summary["up_to"], np.float64)
    if len(points) <= BINS:
        edges, cumulated = points, up_to
        names = [f"{point:g}" for point in points]
    else:
        edges = np.linspace(median(summary, 0.02), median(summary, 0.98), BINS - 1)
        cumulated = np.interp(edges, points, up_to)
        names = [f"to {number(edge)}" for edge in edges]
    counts = np.diff(cumulated, prepend=0, append=rows)
    live_counts = np.diff(np.searchsorted(found, edges, side="right"), prepend=0, append=len(found))
    return [*names, "more"], counts, live_counts.astype(float)


def _largest(names: Sequence[str], counts: Array, live_counts: Array) -> tuple[list[str], Array, Array]:
    """Return the largest bins, and all others in the last one."""
    if len(names) <= BINS:
        return list(names), counts, live_counts
    order = np.argsort(-(counts[:-1] / max(1, counts.sum()) + live_counts[:-1] / max(1, live_counts.sum())))
    kept, others = order[: BINS - 1], order[BINS - 1 :]
    parts = (np.append(part[kept], part[others].sum() + part[-1]) for part in (counts, live_counts))
    first, second = parts
    return [*(names[place] for place in kept), REST], first, second
