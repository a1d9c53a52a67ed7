"""Prometheus metrics of an endpoint, summed over all its workers.

The workers share a folder of memory-mapped counters (prometheus_client's multiprocess mode), so a scrape sees all
of them, whichever worker answers it. PROMETHEUS_MULTIPROC_DIR must be set before this module is imported.
"""

from __future__ import annotations

import functools
import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class EndpointMetrics:
    """Counters of one worker."""

    def __init__(self, model: str, version: str) -> None:
        self._registry = CollectorRegistry()
        common = {"registry": self._registry}
        requests = Counter("mlctl_requests", "Requests answered.", ("route", "status"), **common)
        seconds = Histogram(
            "mlctl_request_seconds",
            "Seconds from a request's headers to its answer.",
            ("route",),
            buckets=BUCKETS,
            **common,
        )
        self._requests_of = functools.cache(requests.labels)
        self._seconds_of = functools.cache(seconds.labels)
        self._errors = Counter("mlctl_errors", "Requests refused or failed.", ("code",), **common)
        self._rows = Counter("mlctl_rows", "Rows predicted.", **common)
        self.in_flight = Gauge(
            "mlctl_in_flight", "Requests being answered.", multiprocess_mode="livesum", **common
        )
        model_info = Gauge(
            "mlctl_model_info",
            "1 for the version that is served.",
            ("model", "version"),
            multiprocess_mode="livemax",
            **common,
        )
        model_info.labels(model, version).set(1)

    def record(self, route: str, *, status: int, seconds: float, rows: int, error_code: str) -> None:
        """Count one response; `error_code` is "" if the request succeeded."""
        self._requests_of(route, str(status)).inc()
        self._seconds_of(route).observe(seconds)
        if rows:
            self._rows.inc(rows)
        if error_code:
            self._errors.labels(error_code).inc()

    def text(self) -> bytes:
        """Return the metrics of all workers in Prometheus's text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return bytes(generate_latest(self._registry))
        all_workers = CollectorRegistry()
        multiprocess.MultiProcessCollector(all_workers)
        return bytes(generate_latest(all_workers))
