"""Record the result of an evaluation as a run."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from mlflow.entities import Metric, Param, RunTag

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.note import NOTE_TAG, generated_note
from mlctl.domain.registry import Evaluation
from mlctl.domain.tags import INTERVALS_TAG, KIND_TAG, RECIPE_TAG


def log_evaluation_run(store: TrackingStore, experiment_name: str, evaluations: Sequence[Evaluation]) -> str:
    """Record the scores of one or two models as a run of this experiment; return the run's id.

    Metrics of the first model begin with `test_`, those of the second with `against_`.
    """
    timestamp = int(time.time() * 1000)
    recipe = evaluations[0].recipe
    with store.without_retries():
        experiment = store.mlflow_client.get_experiment_by_name(experiment_name)
        experiment_id = (
            experiment.experiment_id if experiment else store.mlflow_client.create_experiment(experiment_name)
        )
        run_id = str(store.mlflow_client.create_run(experiment_id, run_name=f"evaluate-{recipe}").info.run_id)
        metrics = [
            Metric(prefix + name, value, timestamp, 0)
            for prefix, evaluation in zip(("test_", "against_"), evaluations, strict=False)
            for name, value in evaluation.metrics.items()
        ]
        params = [
            Param(name, evaluation.model.uri)
            for name, evaluation in zip(("model", "against"), evaluations, strict=False)
        ]
        models = " and ".join(f"`{evaluation.model.uri}`" for evaluation in evaluations)
        tags = [
            RunTag(RECIPE_TAG, recipe),
            RunTag(KIND_TAG, "evaluation"),
            RunTag(
                INTERVALS_TAG,
                json.dumps(
                    {f"test_{name}": list(bounds) for name, bounds in evaluations[0].intervals.items()}
                ),
            ),
            RunTag(NOTE_TAG, generated_note(f"{recipe}: scores of {models} by `mlctl evaluate`")),
        ]
        store.mlflow_client.log_batch(run_id, metrics, params, tags)
        store.mlflow_client.set_terminated(run_id)
    return run_id
