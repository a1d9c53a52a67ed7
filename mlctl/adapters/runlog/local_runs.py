"""The records of runs on this machine: found by id, and read as runs where the store is away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlctl.adapters.runlog.journal import Entry, Journal, read_about
from mlctl.adapters.tracking.convert import data_of
from mlctl.domain.run import Run


def folders(state: Path) -> Iterator[Path]:
    """Return the folders of all records, oldest first."""
    found = [path for path in (state / "runs").glob("*") if (path / "run.json").exists()]
    yield from sorted(found, key=lambda path: read_about(path).get("began", 0))


def folder_of(state: Path, run_id: str) -> Path:
    """Return where a run's record is, or would be: that of an offline run is named before it has its id."""
    for path in folders(state):
        if read_about(path).get("run_id") == run_id:
            return path
    return state / "runs" / run_id


def as_run(journal: Journal) -> Run:
    """Return a record as a run, as the store would have it were it sent."""
    about = journal.about
    gathered: dict[str, dict[str, Any]] = {"params": {}, "tags": dict(about["tags"]), "metrics": {}}
    status, ended = "RUNNING", None
    for entry in journal.entries():
        if entry["kind"] in gathered:
            gathered[entry["kind"]].update(entry["values"])
        elif entry["kind"] == "finish":
            status, ended = entry["status"], entry["at"]
        elif entry["kind"] == "resume":
            status, ended = "RUNNING", None
    has_model = any(_is_model(entry) for entry in journal.entries())
    tags = gathered["tags"]
    return Run(
        run_id=about.get("run_id") or journal.folder.name,
        run_name=about.get("run_name") or "",
        experiment=about["experiment"],
        status=status,
        tracking_uri=about["tracking_uri"],
        recipe=tags.get("mlctl.recipe", ""),
        params=gathered["params"],
        metrics=gathered["metrics"],
        tags={**tags, "mlctl.unsent": "true"},
        data=data_of(tags),
        model_uri=str(journal.model) if has_model else None,
        started_at=datetime.fromtimestamp(about["began"] / 1000, UTC),
        duration_s=(ended - about["began"]) / 1000 if ended else None,
    )


def _is_model(entry: Entry) -> bool:
    return bool(entry["kind"] == "model")
