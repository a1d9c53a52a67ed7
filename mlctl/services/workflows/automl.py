"""mlctl automl: fit several families of models to one table, blend them, and log one model to serve."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlctl.adapters.estimators.spec import LIGHTGBM
from mlctl.adapters.runlog import search_journal
from mlctl.adapters.runlog.local_runs import record_folder
from mlctl.adapters.tracking.health import check_reachable
from mlctl.domain.automl import REGRESSION_METRICS, AutomlPlan, AutomlResult
from mlctl.domain.objective import Objective, lower_is_better
from mlctl.domain.run import Run
from mlctl.domain.tags import AUTOML
from mlctl.domain.tune import SearchListener
from mlctl.errors import NotFoundError, RefusedError, UsageError
from mlctl.recipes import Recipe
from mlctl.recipes import resolve as resolve_recipe
from mlctl.recipes.keras_import import fast_imports, require_tensorflow
from mlctl.services.automl import candidates, metrics, text_tables
from mlctl.services.automl.request import AutomlJob, AutomlRequest, validate
from mlctl.services.recipes.defaults import with_defaults
from mlctl.services.recipes.prepare import prepare
from mlctl.settings import Settings

if TYPE_CHECKING:
    from mlctl.adapters.tracking.store import TrackingStore


def automl(settings: Settings, request: AutomlRequest, listener: SearchListener) -> AutomlResult:
    """Fit models, blend them and log the blend. Ends when time is up, or when there is nothing left to try.

    Raises:
        UsageError: if the request is invalid.
        ConfigurationError: if the extra is not installed.
        ChildFailedError: if no model could be fitted.
        Interrupted: on Ctrl-C, after the best blend so far was logged.

    """
    started = time.monotonic()
    require_tensorflow("mlctl automl trains")
    job = _validated_job(settings, request)
    check_reachable(settings.tracking_uri)
    return _run(settings, None, job, listener=listener, started=started)


def resume(settings: Settings, store: TrackingStore, run: Run, listener: SearchListener) -> AutomlResult:
    """Resume a run for the time that it has left, with the models that were fitted already.

    Raises NotFoundError if the journal is not on this machine, RefusedError if the data has changed.
    """
    started = time.monotonic()
    path = record_folder(settings.state_dir, run.run_id) / search_journal.NAME
    if not path.exists():
        raise NotFoundError(
            f"the journal of run {run.run_name} is not on this machine",
            "resume it on the machine that started it",
        )
    entries = tuple(search_journal.read_entries(path))
    if not entries or entries[0]["kind"] != AUTOML:
        raise NotFoundError(f"run {run.run_name} has no fitted models", "start a new run: mlctl automl")
    request = AutomlRequest.from_journal(entries[0]["request"])
    job = validate(request, resolve_recipe(request.source))
    settings = replace(settings, experiment=run.experiment)
    return _run(settings, store, job, listener=listener, started=started, run=run, journal_entries=entries)


def plan(settings: Settings, request: AutomlRequest) -> AutomlPlan:
    """Return the models that would be tried, without reading any data."""
    job = _validated_job(settings, request)
    recipe, task = job.recipe, _task(job.recipe)
    metric = request.metric or recipe.objective.metric.removeprefix("val_")
    notes: tuple[str, ...] = ()
    if task == "auto":
        task = "regression" if metric in REGRESSION_METRICS else "classes"
        notes = ("mlctl decides between classes and numbers when it reads the table",)
    has_texts = recipe.name == text_tables.RECIPE
    specs = candidates.candidate_models(
        recipe,
        task=task,
        metric=metric,
        positive=True,
        rows=100_000,
        families=job.families,
        family_params=job.family_params,
        texts=has_texts,
    )
    objective = Objective(f"val_{metric}", not lower_is_better(metric)) if request.metric else None
    models = tuple(
        (
            spec.name,
            spec.family,
            {name: value for name, value in spec.logged_params.items() if name != "family"},
        )
        for spec in specs
    )
    return AutomlPlan(
        recipe=recipe.name,
        objective=objective,
        timeout_s=request.timeout_s,
        featurize=request.featurize and not has_texts,
        searches=not has_texts and LIGHTGBM in job.families,
        models=models,
        notes=notes,
    )


def _validated_job(settings: Settings, request: AutomlRequest) -> AutomlJob:
    """Resolve the recipe, once for the whole command, and check the request."""
    resolved = resolve_recipe(request.source)
    overrides = with_defaults(settings, resolved.recipe, request.overrides)
    return validate(replace(request, overrides=overrides), resolved)


def _task(recipe: Recipe) -> str:
    if recipe.name == "tabular":
        return "auto"
    metric = recipe.objective.metric
    return "regression" if lower_is_better(metric) and metric != "val_loss" else "classes"


def _run(
    settings: Settings,
    store: TrackingStore | None,
    job: AutomlJob,
    *,
    listener: SearchListener,
    started: float,
    run: Run | None = None,
    journal_entries: Sequence[Mapping[str, Any]] = (),
) -> AutomlResult:
    request = job.request
    prepared = prepare(
        settings, job.resolved, job.values, data=request.data, rows=request.rows, listener=listener
    )
    if not (prepared.data.is_table or text_tables.is_of_texts(prepared)):
        raise UsageError(
            f"automl is for tables and texts of your own, and {job.recipe.name} has neither",
            f"mlctl tune {request.source} searches its network",
        )
    if run and run.data and run.data.sha256 != prepared.data.sha256:
        raise RefusedError("the data has changed since this run started", "start a new run: mlctl automl")
    # an unknown metric must be reported before the slow imports
    metrics.choose_objective(request.metric, prepared.objective, len(prepared.data.classes))
    listener.stage("starting LightGBM and MLflow")
    # OpenMP threads that spin while they wait for a core make a busy machine ten times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with fast_imports():
        from mlctl.adapters.runlog.recorder import open_store
        from mlctl.services.automl.run import AutomlRun
        from mlctl.services.workflows.finish_result import finish_result

    store = store or open_store(settings.tracking_uri)
    automl_run = AutomlRun(
        settings,
        store,
        job,
        prepared=prepared,
        listener=listener,
        started=started,
        resumed_run=run,
        journal_entries=journal_entries,
    )
    result = automl_run.run()
    run = finish_result(settings, store, result.run, register=request.register, listener=listener)
    return replace(result, run=run)
