"""MLflow's run -> ours: what `mlctl train` writes as tags, and what any other program left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from mlflow.entities import Run as MlflowRun

from mlctl.adapters.tracking.heartbeat import HEARTBEAT, heard_lately
from mlctl.domain.run import DataReference, Run


def to_run(found: MlflowRun, experiment: str, tracking_uri: str) -> Run:
    """Return MLflow's run as ours; a run that mlctl did not make lacks its tags and is shown without."""
    info, tags = found.info, found.data.tags
    return Run(
        run_id=info.run_id,
        run_name=info.run_name or tags.get("mlflow.runName", ""),
        experiment=experiment,
        status=_status(info.status, tags),
        tracking_uri=tracking_uri,
        recipe=tags.get("mlctl.recipe", ""),
        params=found.data.params,
        metrics=found.data.metrics,
        tags=tags,
        data=data_of(tags) or _logged_input(found),
        model_uri=tags.get("mlctl.model_uri") or _logged_model(found),
        started_at=datetime.fromtimestamp(info.start_time / 1000, UTC) if info.start_time else None,
        duration_s=_duration(info.start_time, info.end_time, tags),
        parent_run_id=tags.get("mlflow.parentRunId"),
    )


def _status(status: str, tags: Mapping[str, str]) -> str:
    """Return the status, LOST for a run whose process has not been heard of for a minute."""
    last = tags.get(HEARTBEAT)
    if status != "RUNNING" or last is None:
        return status
    try:
        return status if heard_lately(last) else "LOST"
    except ValueError:
        return status


def data_of(tags: Mapping[str, str]) -> DataReference | None:
    """Return the data that a run's tags name, or None."""
    source = tags.get("mlctl.data")
    if not source:
        return None
    return DataReference(
        name=tags.get("mlctl.data.name", ""),
        source=source,
        sha256=tags.get("mlctl.data.sha256", ""),
        rows=_whole(tags.get("mlctl.data.rows")) or 0,
        size_bytes=_whole(tags.get("mlctl.data.size_bytes")) or 0,
        splits=_splits(tags.get("mlctl.data.splits")),
        seed=_whole(tags.get("mlctl.data.seed")),
    )


def _splits(text: str | None) -> dict[str, int]:
    try:
        found = json.loads(text or "{}")
        return {str(key): int(value) for key, value in found.items()}
    except (ValueError, AttributeError, TypeError):  # a tag is anyone's to edit
        return {}


def _logged_input(found: MlflowRun) -> DataReference | None:
    """Return what `mlflow.log_input` recorded; its digest, of the first elements only, is left out."""
    inputs = found.inputs.dataset_inputs if found.inputs else []
    if not inputs:
        return None
    dataset = inputs[0].dataset
    try:
        rows = int(json.loads(dataset.profile or "{}").get("num_rows", 0))
    except (ValueError, TypeError, AttributeError):
        rows = 0
    return DataReference(name=dataset.name, source=dataset.source_type, sha256="", rows=rows)


def _logged_model(found: MlflowRun) -> str | None:
    outputs = found.outputs.model_outputs if found.outputs else []
    return f"models:/{outputs[-1].model_id}" if outputs else None


def _duration(start: int | None, end: int | None, tags: Mapping[str, str]) -> float | None:
    try:
        return float(tags["mlctl.duration_s"])
    except (KeyError, ValueError):
        return (end - start) / 1000 if start and end else None


def _whole(text: str | None) -> int | None:
    try:
        return int(float(text)) if text else None
    except ValueError:
        return None
