"""Prometheus metrics of an endpoint, summed over all its workers.

The workers share a folder of memory-mapped counters (prometheus_client's multiprocess mode), so a scrape sees all
of them, whichever worker answers it. PROMETHEUS_MULTIPROC_DIR must be set before this module is imported.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from mlctl.domain.latency import PROMETHEUS_EDGES
from mlctl.serving.metrics_files import SharedCollector
from mlctl.serving.rollout.version_metrics import VersionCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST


class EndpointMetrics:
    """Counters of one worker."""

    def __init__(self, model: str, version: str, folder: Path | None = None) -> None:
        """Create the counters; `folder` is the endpoint's, where the counts by version lie."""
        self._folder = folder
        self.collectors: list[Any] = []  # of further metrics, which are not counted in shared files
        self._registry = CollectorRegistry()
        common = {"registry": self._registry}
        requests = Counter("mlctl_requests", "Requests answered.", ("route", "status"), **common)
        seconds = Histogram(
            "mlctl_request_seconds",
            "Seconds from a request's headers to its answer.",
            ("route",),
            buckets=PROMETHEUS_EDGES,
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
            text = generate_latest(self._registry)
        else:
            all_workers = CollectorRegistry()
            SharedCollector(all_workers)
            text = generate_latest(all_workers)
        if self._folder is None:
            return bytes(text)
        others = CollectorRegistry()
        for collector in (VersionCollector(self._folder), *self.collectors):
            others.register(collector)
        return bytes(text + generate_latest(others))
