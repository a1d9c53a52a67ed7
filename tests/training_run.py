"""Observe a training through its record on disk and its run in the store."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any


def record(state: Path) -> Path | None:
    """Return the record of the only run in a state folder; None if there is none yet."""
    return next((path.parent for path in state.glob("runs/*/run.json")), None)


def kinds(state: Path) -> Counter[str]:
    """Count the journal's entries by their kind."""
    folder = record(state)
    path = folder / "journal.jsonl" if folder else None
    if path is None or not path.exists():
        return Counter()
    lines = [line for line in path.read_bytes().split(b"\n")[:-1] if line]
    return Counter(json.loads(line)["kind"] for line in lines)


def client(uri: str) -> Any:
    """Return an MLflow client of this store."""
    import mlflow

    return mlflow.MlflowClient(uri, registry_uri=uri)


def only_run(uri: str, experiment: str) -> Any:
    """Return the one run of an experiment."""
    mlflow_client = client(uri)
    (run,) = mlflow_client.search_runs([mlflow_client.get_experiment_by_name(experiment).experiment_id])
    return run


def assert_complete(uri: str, experiment: str, epochs: int) -> Any:
    """Assert that an experiment has one FINISHED run, with one point per step and one model; return the run."""
    mlflow_client, run = client(uri), only_run(uri, experiment)
    assert run.info.status == "FINISHED"
    for name in run.data.metrics:
        steps = [point.step for point in mlflow_client.get_metric_history(run.info.run_id, name)]
        assert len(steps) == len(set(steps)), f"{name} has two points at a step: {steps}"
    assert len(mlflow_client.get_metric_history(run.info.run_id, "loss")) == epochs
    models = mlflow_client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    assert [str(model.status) for model in models] == ["READY"], [model.to_dictionary() for model in models]
    assert [output.model_id for output in run.outputs.model_outputs] == [models[0].model_id]
    assert len(run.inputs.dataset_inputs) == 1
    assert run.data.tags["mlctl.model_uri"] == f"models:/{models[0].model_id}"
    files = {file.path for file in mlflow_client.list_logged_model_artifacts(models[0].model_id)}
    assert {"MLmodel", "artifacts", "requirements.txt"} <= files
    artifacts = {artifact.path for artifact in mlflow_client.list_artifacts(run.info.run_id)}
    assert {"history.csv", "report.txt", "recipe.py"} <= artifacts
    assert "checkpoint" not in artifacts
    return run
