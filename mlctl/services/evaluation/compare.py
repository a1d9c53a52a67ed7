"""Scoring one or two models on the same rows, and noting it as a run where that is wanted."""

from __future__ import annotations

import time

from mlflow.entities import Metric, Param, RunTag

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.registry import Evaluation, ModelReference
from mlctl.domain.serving import Comparison
from mlctl.services.evaluation.evaluate import examine
from mlctl.services.models.select import resolve
from mlctl.settings import Settings


def compare(
    settings: Settings,
    model: str,
    source: str,
    against: str | None = None,
    data: str | None = None,
    rows: int | None = None,
    log: bool = False,
    target: str | None = None,
    listener: ProgressListener | None = None,
) -> Comparison:
    """Return what the models reach on the rows that `examine` chooses; raises as resolving and examining do.

    `target` is a table's column of labels, where it is not the one that the model was trained to give.
    """
    typed = [model, *([against] if against else [])]
    references = [resolve(settings, one) for one in typed]
    exam = examine(settings, source, data, rows, {"target": target} if target else None, listener, references)
    store = TrackingStore(settings.tracking_uri)
    found = [exam.take(store, one) for one in references]
    run_id = _logged(settings, found) if log else None
    names = tuple(_named(one, text) for one, text in zip(references, typed, strict=True))
    metrics = {name: tuple(one.metrics[name] for one in found) for name in found[0].metrics}
    first = found[0]
    return Comparison(first.recipe, first.split, first.rows, names, metrics, run_id, first.data)


def _named(reference: ModelReference, typed: str) -> str:
    return f"{reference.name} {reference.version}" if reference.name and reference.version else typed


def _logged(settings: Settings, found: list[Evaluation]) -> str:
    """Note the evaluation as a run of the recipe's experiment; the second model's figures begin `against_`."""
    store = TrackingStore(settings.tracking_uri, create=True)
    name = settings.experiment or found[0].recipe
    now = int(time.time() * 1000)
    with store.making():
        known = store.client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else store.client.create_experiment(name)
        run = store.client.create_run(experiment, run_name=f"evaluate-{found[0].recipe}")
        prefixes = ("test_", "against_")
        metrics = [
            Metric(prefix + key, value, now, 0)
            for prefix, one in zip(prefixes, found, strict=False)
            for key, value in one.metrics.items()
        ]
        named = zip(("model", "against"), found, strict=False)
        params = [Param(key, one.model.uri) for key, one in named]
        tags = [RunTag("mlctl.recipe", found[0].recipe), RunTag("mlctl.kind", "evaluation")]
        store.client.log_batch(run.info.run_id, metrics, params, tags)
        store.client.set_terminated(run.info.run_id)
    return str(run.info.run_id)
