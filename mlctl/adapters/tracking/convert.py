"""Convert MLflow's runs to mlctl's: runs that mlctl tagged, and runs that any other program logged."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlctl.domain.heartbeat import HEARTBEAT, LOST_AFTER_S, heartbeat_age_s
from mlctl.domain.metric_names import system_metrics_of, without_system_metrics
from mlctl.domain.run import DataReference, Run
from mlctl.domain.tags import (
    DATA_FILES_TAG,
    DATA_NAME_TAG,
    DATA_ROWS_TAG,
    DATA_SEED_TAG,
    DATA_SHA256_TAG,
    DATA_SIZE_TAG,
    DATA_SPLITS_TAG,
    DATA_TAG,
    DURATION_TAG,
    MODEL_URI_TAG,
    RECIPE_TAG,
    STATE_TAG,
)
from mlctl.domain.tune import STOPPED


def to_run(mlflow_run: Any, experiment: str, tracking_uri: str) -> Run:
    """Return MLflow's run as an mlctl run; what mlctl's tags would tell is empty for other programs' runs."""
    info, tags = mlflow_run.info, mlflow_run.data.tags
    return Run(
        run_id=info.run_id,
        run_name=info.run_name or tags.get("mlflow.runName", ""),
        experiment=experiment,
        status=run_status(info.status, tags),
        tracking_uri=tracking_uri,
        recipe=tags.get(RECIPE_TAG, ""),
        params=mlflow_run.data.params,
        metrics=without_system_metrics(mlflow_run.data.metrics),
        system_metrics=system_metrics_of(mlflow_run.data.metrics),
        tags=tags,
        data=to_data_reference(tags) or _logged_input(mlflow_run),
        model_uri=tags.get(MODEL_URI_TAG) or _logged_model_uri(mlflow_run),
        started_at=to_datetime(info.start_time),
        duration_s=_duration_s(info.start_time, info.end_time, tags),
        parent_run_id=tags.get("mlflow.parentRunId"),
    )


def run_status(status: str, tags: Mapping[str, str]) -> str:
    """Return MLflow's status, LOST for a running run without a heartbeat in the last minute, or STOPPED.

    A trial is STOPPED if its search ended it early, whichever status its run has in the store.
    """
    if status in {"FINISHED", "KILLED"} and tags.get(STATE_TAG) == STOPPED:
        return "STOPPED"
    heartbeat = tags.get(HEARTBEAT)
    if status != "RUNNING" or heartbeat is None:
        return status
    age_s = heartbeat_age_s(heartbeat)
    return "LOST" if age_s is not None and age_s > LOST_AFTER_S else status


def to_data_reference(tags: Mapping[str, str]) -> DataReference | None:
    """Return the data that a run's tags describe, or None."""
    source = tags.get(DATA_TAG)
    if not source:
        return None
    return DataReference(
        name=tags.get(DATA_NAME_TAG, ""),
        source=source,
        sha256=tags.get(DATA_SHA256_TAG, ""),
        rows=_to_int(tags.get(DATA_ROWS_TAG)) or 0,
        size_bytes=_to_int(tags.get(DATA_SIZE_TAG)) or 0,
        splits=_to_splits(tags.get(DATA_SPLITS_TAG)),
        seed=_to_int(tags.get(DATA_SEED_TAG)),
        files=_to_files(tags.get(DATA_FILES_TAG)),
    )


def to_datetime(milliseconds: int | None) -> datetime | None:
    """Return MLflow's milliseconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _to_splits(text: str | None) -> dict[str, int]:
    try:
        splits = json.loads(text or "{}")
        return {str(name): int(rows) for name, rows in splits.items()}
    except (ValueError, AttributeError, TypeError):  # anyone can edit a tag
        return {}


def _to_files(text: str | None) -> dict[str, str]:
    try:
        return {str(name): str(digest) for name, digest in json.loads(text or "{}").items()}
    except (ValueError, AttributeError, TypeError):  # anyone can edit a tag
        return {}


def _logged_input(mlflow_run: Any) -> DataReference | None:
    """Return the dataset of `mlflow.log_input`, without its digest, which covers its first elements only."""
    inputs = mlflow_run.inputs.dataset_inputs if mlflow_run.inputs else []
    if not inputs:
        return None
    dataset = inputs[0].dataset
    try:
        rows = int(json.loads(dataset.profile or "{}").get("num_rows", 0))
    except (ValueError, TypeError, AttributeError):
        rows = 0
    return DataReference(name=dataset.name, source=dataset.source_type, sha256="", rows=rows)


def _logged_model_uri(mlflow_run: Any) -> str | None:
    models = mlflow_run.outputs.model_outputs if mlflow_run.outputs else []
    return f"models:/{models[-1].model_id}" if models else None


def _duration_s(start_ms: int | None, end_ms: int | None, tags: Mapping[str, str]) -> float | None:
    with contextlib.suppress(KeyError, ValueError):
        if (seconds := float(tags[DURATION_TAG])) >= 0:  # an earlier version subtracted two different clocks
            return seconds
    return (end_ms - start_ms) / 1000 if start_ms and end_ms else None


def _to_int(text: str | None) -> int | None:
    try:
        return int(float(text)) if text else None
    except ValueError:
        return None
