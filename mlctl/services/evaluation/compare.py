"""Score one or two models on the same rows, and record the result as a run on request."""

from __future__ import annotations

from mlctl.adapters.tracking.evaluation_runs import log_evaluation_run
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.registry import ModelReference
from mlctl.domain.serving import ModelComparison
from mlctl.services.evaluation.evaluate import load_evaluation_set
from mlctl.services.models.select import resolve_model
from mlctl.settings import Settings


def compare_models(
    settings: Settings,
    model: str,
    source: str,
    *,
    against: str | None = None,
    data: str | None = None,
    rows: int | None = None,
    log: bool = False,
    target: str | None = None,
    listener: ProgressListener | None = None,
) -> ModelComparison:
    """Return the scores of one or two models on the rows that `load_evaluation_set` chooses.

    Args:
        settings: Settings in force.
        model: The model to score.
        source: A recipe's name, a recipe file, or the user's own data.
        against: A second model.
        data: As in `mlctl train --data`.
        rows: As in `mlctl train --rows`.
        log: Record the evaluation as a run.
        target: The label column of a table, if it is not the column that the model was trained to predict.
        listener: Receives progress messages.

    Raises what resolving the models and loading the data raise.
    """
    store = TrackingStore(settings.tracking_uri)
    typed = [model, *([against] if against else [])]
    references = [resolve_model(store, text) for text in typed]
    evaluation_set = load_evaluation_set(
        settings,
        store,
        source,
        data=data,
        rows=rows,
        overrides={"target": target} if target else None,
        listener=listener,
        models=references,
    )
    evaluations = [evaluation_set.evaluate(store, reference) for reference in references]
    first, last = evaluations[0], evaluations[-1]
    run_id = None
    if log:
        # a folder's model can be scored without a store; only recording the result creates one
        writable = store if store.exists else TrackingStore(settings.tracking_uri, create=True)
        run_id = log_evaluation_run(writable, settings.experiment or first.recipe, evaluations)
    return ModelComparison(
        recipe=first.recipe,
        split=first.split,
        rows=first.rows,
        models=tuple(_title(reference, text) for reference, text in zip(references, typed, strict=True)),
        metrics={
            name: tuple(evaluation.metrics[name] for evaluation in evaluations)
            for name in first.metrics
            if name in last.metrics  # a score can be undefined for one of two models
        },
        run_id=run_id,
        data=first.data,
        intervals={
            name: tuple(evaluation.intervals.get(name) for evaluation in evaluations)
            for name in first.metrics
            if name in last.metrics and name in first.intervals
        },
    )


def _title(reference: ModelReference, typed: str) -> str:
    return f"{reference.name} {reference.version}" if reference.name and reference.version else typed
