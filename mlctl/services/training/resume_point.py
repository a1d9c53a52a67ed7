"""The point from which another process's training is resumed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.run_queries import CHECKPOINT_FOLDER


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """A run to resume: its record's folder and header, and the (metric, step) points that the store has.

    `tags` record what this resume changes: changed code or data that the user accepted, or more epochs. `data_sha256` is
    the digest that a script's data must have, which is known when the script passes it to `fit`; "": any.
    """

    folder: Path
    header: Mapping[str, Any]
    known_points: frozenset[tuple[str, int]] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)
    data_sha256: str = ""


def fetch_resume_point(store: TrackingStore, run: Run, folder: Path) -> ResumePoint:
    """Download a run's checkpoint to a new record in `folder`; the caller knows that no process writes the run."""
    if any(artifact.path == CHECKPOINT_FOLDER for artifact in store.list_artifacts(run)):
        downloaded = store.download_artifact(run, CHECKPOINT_FOLDER, folder / "files")
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        for file in downloaded.rglob("*.ckpt"):
            shutil.copy(file, folder / "checkpoints")
    known_points = {
        (name, step)
        for name in (*run.metrics, *run.system_metrics)
        for step, _ in store.get_metric_history(run.run_id, name)
    }
    return ResumePoint(folder=folder, header=record_header(store, run), known_points=frozenset(known_points))


def record_header(store: TrackingStore, run: Run) -> dict[str, Any]:
    """Return the header of a new record of a run that the store has."""
    return {
        "tracking_uri": store.tracking_uri,
        "experiment": run.experiment,
        "experiment_id": store.experiment_ids(run.experiment)[0],
        "run_id": run.run_id,
        "run_name": run.run_name,
        "tags": {
            name: value for name, value in run.tags.items() if name.startswith(("mlctl.", "mlflow.source."))
        },
        "began": int(run.started_at.timestamp() * 1000) if run.started_at else 0,
    }
