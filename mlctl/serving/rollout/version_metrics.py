"""Prometheus metrics by version, made from the counts that all processes of an endpoint share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from mlctl.domain.latency import EDGES, PROMETHEUS_EDGES
from mlctl.domain.version_counts import VersionCounts
from mlctl.serving.rollout.version_stats import read_counts

LABELS = ("version", "role")


class VersionCollector:
    """Collects the metrics by version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        requests = CounterMetricFamily(
            "mlctl_version_requests",
            "Predictions by the version that was asked for them.",
            labels=(*LABELS, "outcome"),
        )
        seconds = HistogramMetricFamily(
            "mlctl_version_request_seconds",
            "Seconds that a version takes from a request's body to its answer.",
            labels=LABELS,
        )
        in_flight = GaugeMetricFamily(
            "mlctl_version_in_flight", "Predictions that a version is making.", labels=LABELS
        )
        compared = CounterMetricFamily(
            "mlctl_version_compared",
            "Copies of requests whose answers were compared with those of the serving version.",
            labels=LABELS,
        )
        agreement = GaugeMetricFamily(
            "mlctl_version_agreement",
            "Share of compared rows in which a version agrees with the serving one.",
            labels=LABELS,
        )
        dropped = CounterMetricFamily(
            "mlctl_version_copies_dropped", "Copies that a version was too busy to take.", labels=LABELS
        )
        for (role, version), counts in sorted(read_counts(self._folder).items()):
            labels = (version, role)
            for outcome in ("answered", "refused", "errors"):
                requests.add_metric((*labels, outcome), getattr(counts, outcome))
            seconds.add_metric(labels, buckets=_buckets(counts), sum_value=counts.seconds)
            in_flight.add_metric(labels, counts.in_flight)
            if counts.compared or counts.dropped:
                compared.add_metric(labels, counts.compared)
                dropped.add_metric(labels, counts.dropped)
            if counts.agreement is not None:
                agreement.add_metric(labels, counts.agreement)
        yield from (requests, seconds, in_flight, compared, agreement, dropped)


def _buckets(counts: VersionCounts) -> list[tuple[str, float]]:
    """Return the cumulative buckets of a histogram for Prometheus."""
    sums, total, bucket = [], 0.0, 0
    for edge in PROMETHEUS_EDGES:
        while bucket < len(EDGES) and EDGES[bucket] <= edge:
            total += counts.histogram[bucket]
            bucket += 1
        sums.append((str(edge), total))
    return [*sums, ("+Inf", sum(counts.histogram))]
