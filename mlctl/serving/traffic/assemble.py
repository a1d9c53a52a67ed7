"""Connect a worker with the log of its requests, feedback, and drift."""

from __future__ import annotations

from pathlib import Path

from mlctl.notifications import NotifyTarget
from mlctl.serving.endpoint_spec import EndpointSpec
from mlctl.serving.executor import PredictionExecutor
from mlctl.serving.invocations import Invocations
from mlctl.serving.metrics import EndpointMetrics
from mlctl.serving.router import Router
from mlctl.serving.traffic.drift_watch import DriftCollector, DriftWatch
from mlctl.serving.traffic.feedback import FeedbackRoute
from mlctl.serving.traffic.report import FOLDER, keep_profile
from mlctl.serving.traffic.request_log import RequestLog

SHADOW = "shadow"  # it gets copies of requests, which the version that answers them logs


class TrafficWatch:
    """What watches a worker's traffic; nothing unless requests are logged."""

    def __init__(
        self,
        spec: EndpointSpec,
        invocations: Invocations,
        executor: PredictionExecutor,
        metrics: EndpointMetrics | None,
    ) -> None:
        self._log: RequestLog | None = None
        self._drift: DriftWatch | None = None
        self._executor = executor
        self._folder = Path(spec.scratch) / FOLDER if spec.log_requests else None
        if self._folder is None or spec.role == SHADOW:
            return
        self._log = RequestLog(self._folder, spec.log_requests, spec.redact)
        keep_profile(invocations.model.folder, self._folder, spec.serving.version)
        invocations.observers.append(self._log.observe)
        if metrics is not None:
            self._drift = DriftWatch(
                self._folder,
                endpoint=spec.endpoint,
                model=spec.serving.name,
                notify=NotifyTarget.from_json(spec.notify),
            )
            metrics.collectors.append(DriftCollector(self._folder))

    def add_to(self, router: Router) -> None:
        """Add the route for feedback."""
        FeedbackRoute(self._folder, self._executor).add_to(router)

    def close(self) -> None:
        """Write what is waiting for the log."""
        if self._drift is not None:
            self._drift.close()
        if self._log is not None:
            self._log.close()
