"""Read runs, with what was logged to them, from MLflow's tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlctl.adapters.tracking.clients.connection import Database
from mlctl.adapters.tracking.clients.entities import (
    DatasetEntity,
    DatasetInput,
    ModelOutput,
    RunData,
    RunEntity,
    RunInfo,
    RunInputs,
    RunOutputs,
)

RUN_NAME_TAG = "mlflow.runName"
RUN_COLUMNS = "r.run_uuid, r.name, r.experiment_id, r.status, r.start_time, r.end_time, r.artifact_uri, r.lifecycle_stage"


def read_runs(database: Database, rows: Sequence[Any]) -> list[RunEntity]:
    """Return runs with what was logged to them, in the order of the rows."""
    ids = [row[0] for row in rows]
    params = database.read_grouped("SELECT run_uuid, key, value FROM params WHERE run_uuid IN", ids)
    tags = database.read_grouped("SELECT run_uuid, key, value FROM tags WHERE run_uuid IN", ids)
    metrics = database.read_grouped(
        "SELECT run_uuid, key, CASE WHEN is_nan THEN NULL ELSE value END FROM latest_metrics WHERE run_uuid IN",
        ids,
    )
    datasets = _datasets(database, ids)
    models = _model_outputs(database, ids)
    return [
        RunEntity(
            info=_run_info(row, dict(tags.get(row[0], ())).get(RUN_NAME_TAG, "")),
            data=RunData(
                params=dict(params.get(row[0], ())),
                metrics={key: math.nan if value is None else value for key, value in metrics.get(row[0], ())},
                tags=dict(tags.get(row[0], ())),
            ),
            inputs=RunInputs(datasets.get(row[0], ())),
            outputs=RunOutputs(models.get(row[0], ())),
        )
        for row in rows
    ]


def _datasets(database: Database, run_ids: Sequence[str]) -> Mapping[str, list[DatasetInput]]:
    found = database.read_grouped(
        "SELECT i.destination_id, d.name, d.digest, d.dataset_source_type, d.dataset_profile"
        " FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
        " WHERE i.destination_type = 'RUN' AND i.destination_id IN",
        run_ids,
    )
    return {
        run_id: [
            DatasetInput(DatasetEntity(name=name, digest=digest, source_type=source_type, profile=profile))
            for name, digest, source_type, profile in rows
        ]
        for run_id, rows in found.items()
    }


def _model_outputs(database: Database, run_ids: Sequence[str]) -> Mapping[str, list[ModelOutput]]:
    found = database.read_grouped(
        "SELECT source_id, destination_id, step FROM inputs"
        " WHERE source_type = 'RUN_OUTPUT' AND destination_type = 'MODEL_OUTPUT' AND source_id IN",
        run_ids,
    )
    return {
        run_id: [ModelOutput(model_id=model_id, step=step) for model_id, step in rows]
        for run_id, rows in found.items()
    }


def _run_info(row: Sequence[Any], tagged_name: str) -> RunInfo:
    return RunInfo(
        run_id=row[0],
        run_name=row[1] or tagged_name,  # old versions wrote only the tag
        experiment_id=str(row[2]),
        status=row[3],
        start_time=row[4],
        end_time=row[5],
        artifact_uri=row[6] or "",
        lifecycle_stage=row[7],
    )
