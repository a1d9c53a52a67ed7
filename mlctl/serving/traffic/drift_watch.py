"""Drift for /metrics: computed in the background from the newest rows of the log, by one worker at a time.

The worker that holds the lock writes `drift.json` beside the log, and every worker's /metrics reads it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily

from mlctl.domain.drift import DriftReport
from mlctl.files import locked, write_atomically
from mlctl.notifications import DRIFT_FOUND, NotifyTarget, notify
from mlctl.serving.traffic.report import NoTrafficError, make_report
from mlctl.serving.traffic.request_log import log_files

FILE, LOCK = "drift.json", "drift.lock"
EVERY_S, SINCE_S = 60.0, 24 * 3600
MAX_ROWS = 2000  # the newest; more would find smaller drift, and cost more
MAX_FEATURES = 100
MAX_AGE_S = 24 * 3600

log = logging.getLogger("mlctl.serving")


class DriftWatch:
    """Computes drift once a minute, if this worker holds the lock and there are new rows."""

    def __init__(
        self, folder: Path, *, endpoint: str, model: str, notify: NotifyTarget | None = None
    ) -> None:
        self._folder = folder
        self._notify = notify
        self._endpoint, self._model = endpoint, model
        self._newest: Path | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlctl-drift", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.wait(EVERY_S):
            with (
                contextlib.suppress(BlockingIOError),  # another worker computes it
                locked(self._folder / LOCK, wait=False),
            ):
                self._update()
                while not self._closing.wait(EVERY_S):
                    self._update()

    def _update(self) -> None:
        files = log_files(self._folder)
        if not files or files[-1] == self._newest:
            return
        self._newest = files[-1]
        try:
            report = make_report(
                self._folder,
                endpoint=self._endpoint,
                model=self._model,
                since=time.time() - SINCE_S,
                max_rows=MAX_ROWS,
                with_bins=False,
            )
            known = _drifted(self._folder)
            write_drift(self._folder, report)
            if not {feature.name for feature in report.drifted} <= known:
                tell_about_drift(self._notify, report)
        except NoTrafficError:
            return
        except Exception as error:  # metrics without drift are better than no endpoint
            log.warning("drift cannot be computed: %s", error)


class DriftCollector:
    """Gauges of the newest drift report."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Any]:
        """Yield the gauges; none if there is no report of the last day."""
        try:
            file = self._folder / FILE
            report = json.loads(file.read_bytes())
            if time.time() - file.stat().st_mtime > MAX_AGE_S:
                return
        except (OSError, ValueError):
            return
        labels = ["version", "of", "feature"]
        psi = GaugeMetricFamily(
            "mlctl_drift_psi", "Population stability index of a feature of the traffic.", labels=labels
        )
        drifted = GaugeMetricFamily(
            "mlctl_drift", "1 if a feature of the traffic differs from the training data.", labels=labels
        )
        for feature in report["features"][:MAX_FEATURES]:
            values = [report["version"], feature["of"], feature["name"]]
            psi.add_metric(values, feature["psi"])
            drifted.add_metric(values, float(feature["has_drifted"]))
        score = GaugeMetricFamily(
            "mlctl_live_score",
            "Score of the answers with a known truth.",
            labels=["version", "metric", "bound"],
        )
        for found in report["scores"]:
            for bound in ("low", "value", "high"):
                score.add_metric([report["version"], found["metric"], bound], found[bound])
        yield from (psi, drifted, score)
        yield GaugeMetricFamily("mlctl_drift_rows", "Rows that drift was computed of.", value=report["rows"])


def tell_about_drift(target: NotifyTarget | None, report: DriftReport) -> None:
    """Tell which features drifted; nobody is told if none did."""
    if not report.drifted:
        return
    drifted = report.drifted
    words = "; ".join(f"{feature.name}: {feature.words}" for feature in drifted[:5])
    version = f" version {report.version}" if report.version else ""
    notify(
        target,
        DRIFT_FOUND,
        f"{len(drifted)} of {len(report.features)} features of {report.model}{version} drifted at the endpoint"
        f" {report.endpoint}: {words}",
        {
            "endpoint": report.endpoint,
            "name": report.model,
            "version": report.version,
            "rows": report.rows,
            "features": [
                {"name": feature.name, "psi": feature.psi, "words": feature.words}
                for feature in drifted[:MAX_FEATURES]
            ],
        },
    )


def _drifted(folder: Path) -> set[str]:
    """Return the features that drifted in the report before, of which people know."""
    try:
        report = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return set()
    return {feature["name"] for feature in report["features"] if feature["has_drifted"]}


def write_drift(folder: Path, report: DriftReport) -> None:
    """Write a report for the metrics of all workers."""
    write_atomically(folder / FILE, json.dumps(asdict(report)).encode(), durable=False, mode=0o600)
