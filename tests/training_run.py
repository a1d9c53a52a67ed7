"""Watching a training from outside, by the record that it keeps, and looking at what the store has of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any


def record(state: Path) -> Path | None:
    """Return the record of the one run in a state folder, once there is one."""
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
    """Return MLflow's client."""
    import mlflow

    return mlflow.MlflowClient(uri, registry_uri=uri)


def only_run(uri: str, experiment: str) -> Any:
    """Return the one run of an experiment."""
    asked = client(uri)
    (run,) = asked.search_runs([asked.get_experiment_by_name(experiment).experiment_id])
    return run


def assert_whole(uri: str, experiment: str, epochs: int) -> Any:
    """Assert that an experiment's one run is there once: FINISHED, a point a step, one model; return it."""
    asked, run = client(uri), only_run(uri, experiment)
    assert run.info.status == "FINISHED"
    for name in run.data.metrics:
        steps = [one.step for one in asked.get_metric_history(run.info.run_id, name)]
        assert len(steps) == len(set(steps)), f"{name} has two points at a step: {steps}"
    assert len(asked.get_metric_history(run.info.run_id, "loss")) == epochs
    models = asked.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    assert [str(one.status) for one in models] == ["READY"], [one.to_dictionary() for one in models]
    assert [one.model_id for one in run.outputs.model_outputs] == [models[0].model_id]
    assert len(run.inputs.dataset_inputs) == 1
    assert run.data.tags["mlctl.model_uri"] == f"models:/{models[0].model_id}"
    files = {one.path for one in asked.list_logged_model_artifacts(models[0].model_id)}
    assert {"MLmodel", "artifacts", "requirements.txt"} <= files
    top = {one.path for one in asked.list_artifacts(run.info.run_id)}
    assert {"history.csv", "report.txt", "recipe.py"} <= top
    assert "checkpoint" not in top
    return run
