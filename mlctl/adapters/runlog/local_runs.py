"""The records of runs on this machine, by run id, and as runs while the store does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlctl.adapters.runlog.journal import Journal, read_header
from mlctl.adapters.tracking.convert import to_data_reference
from mlctl.domain.metric_names import system_metrics_of, without_system_metrics
from mlctl.domain.run import Run
from mlctl.domain.tags import RECIPE_TAG


def record_folders(state_dir: Path) -> Iterator[Path]:
    """Yield the folders of all records, oldest first."""
    folders = [path for path in (state_dir / "runs").glob("*") if (path / "run.json").exists()]
    yield from sorted(folders, key=lambda folder: read_header(folder).get("began", 0))


def record_folder(state_dir: Path, run_id: str) -> Path:
    """Return the folder of a run's record, whether it exists or not.

    The name of the folder is the run's id, except for an offline run, which has no id when its record is created.
    """
    for folder in record_folders(state_dir):
        if read_header(folder).get("run_id") == run_id:
            return folder
    return state_dir / "runs" / run_id


def to_run(journal: Journal) -> Run:
    """Return a record as the run that the store would have if everything was sent."""
    header = journal.header
    values: dict[str, dict[str, Any]] = {"params": {}, "tags": dict(header["tags"]), "metrics": {}}
    status, end_ms, has_model = "RUNNING", None, False
    for entry in journal.entries():
        kind = entry["kind"]
        if kind in values:
            values[kind].update(entry["values"])
        elif kind == "points":
            values["metrics"].update({name: value for name, value, *_ in entry["points"]})
        elif kind == "finish":
            status, end_ms = entry["status"], entry["at"]
        elif kind == "resume":
            status, end_ms = "RUNNING", None
        elif kind == "model":
            has_model = True
    tags = values["tags"]
    return Run(
        run_id=header.get("run_id") or journal.folder.name,
        run_name=header.get("run_name") or "",
        experiment=header["experiment"],
        status=status,
        tracking_uri=header["tracking_uri"],
        recipe=tags.get(RECIPE_TAG, ""),
        params=values["params"],
        metrics=without_system_metrics(values["metrics"]),
        system_metrics=system_metrics_of(values["metrics"]),
        tags={**tags, "mlctl.unsent": "true"},
        data=to_data_reference(tags),
        model_uri=str(journal.model) if has_model else None,
        started_at=datetime.fromtimestamp(header["began"] / 1000, UTC),
        duration_s=(end_ms - header["began"]) / 1000 if end_ms else None,
    )
