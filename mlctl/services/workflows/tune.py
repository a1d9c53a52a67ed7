"""mlctl tune: many trainings of one recipe, and the model of the best values."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.adapters.ray import cluster_access
from mlctl.adapters.runlog import search_journal
from mlctl.adapters.runlog.journal import Journal
from mlctl.adapters.runlog.local_runs import record_folder
from mlctl.adapters.scripts.execution import Program, find_program
from mlctl.adapters.tracking.health import check_reachable
from mlctl.domain.run import Run
from mlctl.domain.tune import SearchListener, SearchPlan, SearchResult
from mlctl.errors import BadDataError, NotFoundError, RefusedError, UsageError
from mlctl.recipes import resolve as resolve_recipe
from mlctl.recipes.keras_import import require_tensorflow
from mlctl.services.recipes.notes import announce_notes
from mlctl.services.recipes.prepare import PreparedData, prepare
from mlctl.services.runs.environment import read_environment
from mlctl.services.training import changes
from mlctl.services.tuning import plan as plans
from mlctl.services.tuning.request import (
    SEARCH,
    RecipeJob,
    ScriptJob,
    TuneRequest,
    apply_defaults,
    trials_in_journal,
    validate,
    validate_script,
    with_phases,
)
from mlctl.services.tuning.script_fork import require_script_on_tensorflow
from mlctl.services.workflows.script_again import find_again
from mlctl.settings import Settings, absolute_sqlite

if TYPE_CHECKING:
    from mlctl.adapters.tracking.store import TrackingStore


def tune(settings: Settings, request: TuneRequest, listener: SearchListener) -> SearchResult:
    """Search, then train and log the model of the best values.

    Raises UsageError for a wrong request, ChildFailedError after too many failed trials in a row, Interrupted
    on Ctrl-C; after the last two, `resume` continues the search.
    """
    require_tensorflow("mlctl tune trains")
    job = _validated_job(settings, request)
    check_reachable(settings.tracking_uri)
    if job.request.cluster is not None:
        cluster_access.check_reachable(job.request.cluster)
    if isinstance(job, ScriptJob):
        program = find_program(job.script.script, job.script.module)
        return _run_script(settings, None, job, program=program, listener=listener)
    job, prepared = _prepare(settings, job, listener)
    return _run(settings, None, job, prepared=prepared, listener=listener)


def plan(settings: Settings, request: TuneRequest) -> SearchPlan:
    """Return what a search would do, with its first trials; nothing is trained."""
    return plans.make_plan(_validated_job(settings, request))


def resume(
    settings: Settings,
    store: TrackingStore,
    run: Run,
    *,
    trials: int | None = None,
    force: bool = False,
    listener: SearchListener,
) -> SearchResult:
    """Continue a search in its parent run, for the time that it has left.

    Finished trials are kept, interrupted ones start again. `trials` raises the number of trials. `force`
    continues although data, code or versions have changed; the run records the changes.

    Raises NotFoundError if the search's journal is not on this machine, RefusedError if the search is finished
    or something has changed.
    """
    if run.status == "FINISHED":
        raise RefusedError(
            f"search {run.run_name} is finished, and its run holds the model of its best trial",
            f"start a new one with more trials: mlctl tune {run.recipe} --trials N",
        )
    folder = record_folder(settings.state_dir, run.run_id)
    entries = _read_journal(run, folder)
    request = _resumed_request(entries, trials)
    if trials and _has_params(folder):
        raise RefusedError(
            f"the training of the final model of search {run.run_name} has begun, and the run has its values",
            f"finish it: mlctl resume {run.run_id[:8]}; then start a new one with more trials",
        )
    if request.cluster is not None:
        cluster_access.check_reachable(request.cluster)
    if request.script is not None:
        program, changed = find_again(store, run, request.script, folder)
        changed += changes.version_changes(read_environment(store, run, folder))
        tags = changes.accept_changes(changed, force=force, listener=listener)
        if request.script.script:  # the run's own copy, if the file is gone
            request = replace(request, script=replace(request.script, script=str(program.file)))
        return _run_script(
            replace(settings, experiment=run.experiment),
            store,
            validate_script(request),
            program=program,
            listener=listener,
            resumed=run,
            entries=entries,
            tags=tags,
        )
    source, resolved, changed = changes.resolve_recipe(store, run, request.source, folder)
    changed += changes.version_changes(read_environment(store, run, folder))
    job = validate(replace(request, source=source), resolved)
    settings = replace(settings, experiment=run.experiment)
    job, prepared = _prepare(settings, job, listener)
    changed += changes.data_changes(run, prepared)
    return _run(
        settings,
        store,
        job,
        prepared=prepared,
        listener=listener,
        resumed=run,
        entries=entries,
        tags=changes.accept_changes(changed, force=force, listener=listener),
    )


def _validated_job(settings: Settings, request: TuneRequest) -> RecipeJob | ScriptJob:
    """Resolve the recipe, once for the whole command, and check the request."""
    if request.script is not None:
        find_program(request.script.script, request.script.module).code()  # raises for a syntax error
        return validate_script(request)
    resolved = resolve_recipe(request.source)
    return validate(apply_defaults(settings, request, resolved), resolved)


def _prepare(settings: Settings, job: RecipeJob, listener: SearchListener) -> tuple[RecipeJob, PreparedData]:
    """Load the data; return it, and the job with the data's objective if the user has given none.

    The data is prepared with the recipe's own values; trials change hyperparameters, which encoders do not use.
    """
    request = job.request
    prepared = prepare(
        settings, job.resolved, job.values, data=request.data, rows=request.rows, listener=listener
    )
    announce_notes(job.recipe, job.values, request.overrides, listener)
    if request.objective is None:
        job = replace(job, objective=prepared.objective)
    if prepared.data.validation is None and job.objective.metric.startswith("val_"):
        raise BadDataError(
            f"a search compares {job.objective.metric}, and the data has no validation split",
            "let load() return one, or compare the training: --objective min:loss",
        )
    return job, prepared


def _run(
    settings: Settings,
    store: TrackingStore | None,
    job: RecipeJob,
    *,
    prepared: PreparedData,
    listener: SearchListener,
    **resumed: Any,
) -> SearchResult:
    """Import TensorFlow and MLflow, search, and register the final model if the request says so."""
    listener.stage("starting TensorFlow and MLflow")
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    with runtime.fast_imports():
        from mlctl.adapters.runlog.recorder import open_store
        from mlctl.services.training.phases import recipe_phases
        from mlctl.services.tuning.recipe_source import RecipeSource
        from mlctl.services.tuning.run import TuneRun
        from mlctl.services.workflows.finish_result import finish_result

    phases = recipe_phases(job.recipe, prepared.values, prepared.data)
    if phases[0].name:
        job = with_phases(job, sum(phase.epochs for phase in phases))
    store = store or open_store(settings.tracking_uri)
    source = RecipeSource(settings, store, job, prepared)
    result = TuneRun(settings, store, job, source=source, listener=listener, **resumed).run()
    run = finish_result(settings, store, result.run, register=job.request.register, listener=listener)
    return replace(result, run=run)


def _run_script(
    settings: Settings,
    store: TrackingStore | None,
    job: ScriptJob,
    *,
    program: Program,
    listener: SearchListener,
    **resumed: Any,
) -> SearchResult:
    """Search the values of a script's arguments, and register the final model if the request says so."""
    require_script_on_tensorflow(program)
    listener.stage("starting TensorFlow and MLflow")
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    with runtime.fast_imports():
        from mlctl.adapters.runlog.script_store import open_direct
        from mlctl.services.tuning.run import TuneRun
        from mlctl.services.tuning.script_source import ScriptSource
        from mlctl.services.workflows.finish_result import finish_result

    # of its own, because the script of the final model may use MLflow as well
    store = open_direct(absolute_sqlite(settings.tracking_uri), offline=False)
    source = ScriptSource(settings, job, program)
    result = TuneRun(settings, store, job, source=source, listener=listener, **resumed).run()
    run = finish_result(settings, store, result.run, register=job.request.register, listener=listener)
    return replace(result, run=run)


def _read_journal(run: Run, folder: Path) -> list[Mapping[str, Any]]:
    """Return a search's journal; raises NotFoundError if it is not on this machine or of another kind of run."""
    path = folder / search_journal.NAME
    if not path.exists():
        raise NotFoundError(
            f"the journal of {run.run_name} is not on this machine",
            "resume it on the machine that started it",
        )
    entries = list(search_journal.read_entries(path))
    if not entries or entries[0]["kind"] != SEARCH:
        raise NotFoundError(f"run {run.run_name} is no search", "mlctl runs list shows what it is")
    return entries


def _resumed_request(entries: list[Mapping[str, Any]], trials: int | None) -> TuneRequest:
    """Return the search's request, with the number of trials that an earlier resume or this one has set."""
    request = TuneRequest.from_journal(entries[0]["request"])
    before = trials_in_journal(entries)
    if trials is not None and trials < before:
        raise UsageError(
            f"the search has {before} trials, and --trials {trials} is fewer", "remove --trials, or raise it"
        )
    return replace(request, trials=trials or before)


def _has_params(folder: Path) -> bool:
    """Return whether a search's run has the parameters of a final model, which MLflow never changes."""
    with contextlib.closing(Journal(folder)) as record:
        return any(entry["kind"] == "params" for entry in record.entries())
