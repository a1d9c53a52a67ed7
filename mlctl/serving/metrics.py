"""What Prometheus is told, summed over all workers of an endpoint.

Workers share a folder of memory-mapped counters (prometheus_client's multiprocess mode), so that a scrape sees
all of them whichever answers it; PROMETHEUS_MULTIPROC_DIR must be set before this is imported.
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


class Metrics:
    """Counters of one worker."""

    def __init__(self, model: str, version: str) -> None:
        self._registry = CollectorRegistry()
        own = {"registry": self._registry}
        labels = ("route", "status")
        self._requests = Counter("mlctl_requests", "Requests answered.", labels, **own)
        self._errors = Counter("mlctl_errors", "Requests refused or failed.", ("code",), **own)
        self._seconds = Histogram(
            "mlctl_request_seconds",
            "From a request's headers to its answer.",
            ("route",),
            buckets=BUCKETS,
            **own,
        )
        self._rows = Counter("mlctl_rows", "Rows predicted.", **own)
        self.in_flight = Gauge(
            "mlctl_in_flight", "Requests being answered.", multiprocess_mode="livesum", **own
        )
        serving = Gauge(
            "mlctl_model_info", "1 for the version served.", ("model", "version"),
            multiprocess_mode="livemax", **own,
        )  # fmt: skip
        serving.labels(model, version).set(1)
        self._requests_of = functools.cache(self._requests.labels)
        self._seconds_of = functools.cache(self._seconds.labels)

    def answered(self, route: str, status: int, seconds: float, rows: int, code: str) -> None:
        """Count one answer; `code` is the error's, "" where there was none."""
        self._requests_of(route, str(status)).inc()
        self._seconds_of(route).observe(seconds)
        if rows:
            self._rows.inc(rows)
        if code:
            self._errors.labels(code).inc()

    def text(self) -> bytes:
        """Return all workers' metrics in Prometheus's text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return bytes(generate_latest(self._registry))
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)
        return bytes(generate_latest(together))
