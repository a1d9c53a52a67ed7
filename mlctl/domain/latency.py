"""Histograms of latencies that are fine enough to compare percentiles: each bucket is 5 % wider than the one before."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

FINEST_S, COARSEST_S, GROWTH = 20e-6, 120.0, 1.05
PROMETHEUS_EDGES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
_FINE = (FINEST_S * GROWTH**step for step in range(math.ceil(math.log(COARSEST_S / FINEST_S, GROWTH)) + 1))
# upper edges of the buckets, in seconds; one more bucket holds what is slower than the last edge
EDGES = tuple(sorted({*_FINE, *PROMETHEUS_EDGES}))
BUCKETS = len(EDGES) + 1

Histogram = Sequence[float]


def bucket_of(seconds: float) -> int:
    """Return the number of the bucket that a latency belongs to."""
    return bisect_left(EDGES, seconds)


def quantile(histogram: Histogram, q: float, *, deviations: float = 0.0) -> float | None:
    """Return a quantile in seconds; None if the histogram is empty.

    Args:
        histogram: Number of requests in each bucket.
        q: The quantile, such as 0.95.
        deviations: Return the upper end of the quantile's interval instead: so many standard deviations of the rank
            above it.
    """
    total = sum(histogram)
    if not total:
        return None
    rank = min(total * q + deviations * math.sqrt(total * q * (1 - q)), total)
    below = 0.0
    for bucket, count in enumerate(histogram):
        if count and below + count >= rank:
            lower, upper = (EDGES[bucket - 1] if bucket else 0.0), EDGES[min(bucket, len(EDGES) - 1)]
            return lower + (upper - lower) * max(0.0, min(1.0, (rank - below) / count))
        below += count
    return EDGES[-1]


def count_slower(histogram: Histogram, seconds: float) -> float:
    """Return how many requests were surely slower than a limit."""
    return sum(histogram[bisect_right(EDGES, seconds) + 1 :])


def slowest(histogram: Histogram) -> float:
    """Return the upper edge of the slowest bucket that holds a request; 0.0 if there is none."""
    buckets = [bucket for bucket, count in enumerate(histogram) if count]
    return EDGES[min(buckets[-1], len(EDGES) - 1)] if buckets else 0.0
