"""Log a model folder, with the facts of the run that made it, to another tracking store."""

from __future__ import annotations

import time
from pathlib import Path

from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag
from mlflow.models import Model

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.heartbeat import HEARTBEAT
from mlctl.domain.run import Run
from mlctl.domain.tags import COPIED_FROM_TAG, MODEL_URI_TAG, STOP_TAG
from mlctl.files import write_atomically

BATCH = 100
LEFT_OUT = (HEARTBEAT, MODEL_URI_TAG, STOP_TAG, "mlflow.log-model.history")


def log_copy(store: TrackingStore, folder: Path, name: str, run: Run | None, origin: str) -> tuple[str, str]:
    """Log a model to a new run, which has the parameters, tags and last metrics of `run`; return the ids of both."""
    client = store.mlflow_client
    with store.without_retries():
        experiment = client.get_experiment_by_name(run.experiment if run else name)
        key = (
            experiment.experiment_id
            if experiment
            else client.create_experiment(run.experiment if run else name)
        )
        tags = {tag: value for tag, value in (run.tags if run else {}).items() if tag not in LEFT_OUT}
        created = client.create_run(
            key, tags={**tags, COPIED_FROM_TAG: origin}, run_name=run.run_name if run else name
        )
        run_id, now = created.info.run_id, time.time_ns() // 1_000_000
        params = [Param(one, value) for one, value in (run.params if run else {}).items()]
        for start in range(0, len(params), BATCH):
            client.log_batch(run_id, params=params[start : start + BATCH])
        model = client.create_logged_model(key, name.replace("/", "_"), run_id, params={})
        metrics = [Metric(one, value, now, 0) for one, value in (run.metrics if run else {}).items()]
        client.log_batch(run_id, metrics=metrics, tags=[RunTag(MODEL_URI_TAG, f"models:/{model.model_id}")])
        described = Model.load(str(folder / "MLmodel"))
        described.run_id, described.model_id = run_id, model.model_id
        described.model_uuid, described.artifact_path = model.model_id, model.artifact_location
        write_atomically(folder / "MLmodel", described.to_yaml().encode())
        client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        client.set_terminated(run_id, "FINISHED")
    return run_id, model.model_id
