"""Prometheus counters, summed over all workers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

REQUESTS = Counter("mlctl_server_requests_total", "Requests answered.", ["method", "area", "status"])
SECONDS = Histogram(
    "mlctl_server_request_seconds",
    "Time to answer a request.",
    ["area"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
AREAS = {  # a fixed set: a label with unbounded values would fill the memory of Prometheus
    "mlflow-artifacts": "artifacts",
    "runs": "runs",
    "experiments": "experiments",
    "registered-models": "models",
    "model-versions": "models",
    "logged-models": "models",
    "traces": "traces",
}
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


class RequestCounters:
    """The counters of all workers. Any worker can report all of them."""

    def count(self, *, method: str, path: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        area = next((AREAS[part] for part in path.split("/") if part in AREAS), "other")
        REQUESTS.labels(method if method in METHODS else "other", area, f"{status // 100}xx").inc()
        SECONDS.labels(area).observe(seconds)

    def exposition(self, database_up: bool) -> bytes:
        """Return the counters of all workers in Prometheus's text format."""
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        text: bytes = generate_latest(registry)
        name = b"mlctl_server_database_up"
        return text + b"# HELP %b Whether the database answers.\n# TYPE %b gauge\n%b %d\n" % (
            name,
            name,
            name,
            database_up,
        )
