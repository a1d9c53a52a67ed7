"""What was counted of the requests to one version of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlctl.domain.latency import BUCKETS, quantile

EMPTY_HISTOGRAM = (0.0,) * BUCKETS


@dataclass(frozen=True, kw_only=True)
class VersionCounts:
    """Counts of one version since an endpoint was started, or during a part of that time.

    Attributes:
        answered: Requests that it answered.
        refused: Requests that it refused because the client was wrong (400 to 499); no guard counts them.
        errors: Requests that it failed, or did not answer in time.
        in_flight: Requests that it is answering.
        dropped: Copies of requests that it did not get, because it was busy.
        compared: Copies that it answered as well as the serving version did.
        disagreed: Sum of the shares of rows in which these answers differed.
        seconds: Sum of all latencies.
        histogram: Latencies of answered and failed requests, in the buckets of `latency.EDGES`.
    """

    answered: float = 0.0
    refused: float = 0.0
    errors: float = 0.0
    in_flight: float = 0.0
    dropped: float = 0.0
    compared: float = 0.0
    disagreed: float = 0.0
    seconds: float = 0.0
    histogram: tuple[float, ...] = EMPTY_HISTOGRAM

    @property
    def requests(self) -> float:
        """Requests that it answered or failed."""
        return self.answered + self.errors

    @property
    def error_rate(self) -> float | None:
        """Share of failed requests; None without requests."""
        return self.errors / self.requests if self.requests else None

    @property
    def agreement(self) -> float | None:
        """Share of rows in which it agrees with the serving version; None if nothing was compared."""
        return 1 - self.disagreed / self.compared if self.compared else None

    def percentile(self, percent: float) -> float | None:
        """Return a percentile of the latencies in seconds; None without requests."""
        return quantile(self.histogram, percent / 100)

    def __add__(self, other: VersionCounts) -> VersionCounts:
        """Return the sum of both."""
        return self._combined(other, 1)

    def __sub__(self, earlier: VersionCounts) -> VersionCounts:
        """Return what was counted since `earlier`."""
        return self._combined(earlier, -1)

    def _combined(self, other: VersionCounts, sign: int) -> VersionCounts:
        own, others = vars(self), vars(other)
        sums = {name: own[name] + sign * others[name] for name in own if name != "histogram"}
        histogram = tuple(a + sign * b for a, b in zip(self.histogram, other.histogram, strict=True))
        return replace(self, **sums, histogram=histogram)
