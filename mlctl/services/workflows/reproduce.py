"""mlctl reproduce: train again what a run recorded, and compare every metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mlctl.adapters.runlog import local_runs
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.environment import CORES, CPU, GPUS
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import MetricDifference, Reproduction, Run
from mlctl.errors import RefusedError
from mlctl.services.recipes.prepare import check_values, prepare
from mlctl.services.runs import select
from mlctl.services.runs.environment import read_environment
from mlctl.services.runs.metrics import is_model_metric
from mlctl.services.training import changes
from mlctl.services.workflows.resume import overrides_of, request_of
from mlctl.services.workflows.run_training import run_training
from mlctl.services.workflows.script_again import is_script_run, reproduce_script
from mlctl.settings import Settings

NOT_COMPARED = {"learning_rate"}  # an input, not a result


def reproduce(settings: Settings, selector: str, listener: ProgressListener) -> Reproduction:
    """Train a run again from its record; return the new run, and the metrics that differ.

    Raises RefusedError if recipe or data have changed: that would be another training.
    """
    store = TrackingStore(settings.tracking_uri)
    run = select.find_run(store, selector)
    if is_script_run(run):
        new_run, reasons = reproduce_script(settings, store, run, listener)
        return Reproduction(
            run=new_run,
            original_run_id=run.run_id,
            differences=_differences(store, run, new_run),
            reasons=(*reasons, *_reasons(store, run, new_run)),
        )
    request, overrides = request_of(run), overrides_of(run)
    folder = local_runs.record_folder(settings.state_dir, run.run_id)
    source, resolved, changed = changes.resolve_recipe(store, run, request.source, folder)
    prepared = prepare(
        settings,
        resolved,
        check_values(resolved, overrides),
        data=request.data,
        rows=request.rows,
        listener=listener,
    )
    changed += changes.data_changes(run, prepared)
    if changed:
        raise RefusedError(
            f"this has changed since the run was made: {', '.join(changed)}",
            f"download the run's recipe: mlctl runs artifacts {run.run_id[:8]} --get recipe.py",
        )
    new_request = dataclasses.replace(
        request,
        source=source,
        overrides=overrides,
        precision=run.params["precision"],
        run_name=None,
        register=None,
        tags={"mlctl.reproduces": run.run_id},
    )
    new_run = run_training(settings, new_request, prepared, listener=listener, store=store)
    return Reproduction(
        run=new_run,
        original_run_id=run.run_id,
        differences=_differences(store, run, new_run),
        reasons=tuple(_reasons(store, run, new_run)),
    )


def require_reproduced(reproduction: Reproduction) -> None:
    """Raise RefusedError if a metric differs although the versions and the machine are the same."""
    if reproduction.differences and not reproduction.reasons:
        raise RefusedError(
            "metrics differ on the same versions and the same machine",
            f"mlctl runs diff {reproduction.original_run_id[:8]} {reproduction.run.run_id[:8]} shows where",
        )


def _differences(store: TrackingStore, run: Run, new_run: Run) -> tuple[MetricDifference, ...]:
    """Return the first epoch at which each metric's history differs."""
    differences = []
    for name in sorted((run.metrics.keys() | new_run.metrics.keys()) - NOT_COMPARED):
        then, now = _values(store, run, name), _values(store, new_run, name)
        for step in sorted(then.keys() | now.keys()):
            if then.get(step) != now.get(step):
                differences.append(
                    MetricDifference(
                        metric=name, step=step, original=then.get(step), reproduced=now.get(step)
                    )
                )
                break
    return tuple(differences)


def _values(store: TrackingStore, run: Run, metric: str) -> Mapping[int, float]:
    """Return the values of a metric by step; earlier versions logged those of the model at the step of its epoch."""
    if metric not in run.metrics:
        return {}
    if is_model_metric(metric):
        return {0: run.metrics[metric]}
    return dict(store.get_metric_history(run.run_id, metric))


def _reasons(store: TrackingStore, run: Run, new_run: Run) -> list[str]:
    """Return why metrics may differ: other versions, another processor or other GPUs."""
    before, after = read_environment(store, run), read_environment(store, new_run)
    reasons = changes.version_changes(before)
    for name in (CPU, CORES, GPUS):
        then, now = before.get(name), after.get(name)
        if then != now:
            reasons.append(f"{name.removeprefix('machine.')} ({then} then, {now} now)")
    return reasons
