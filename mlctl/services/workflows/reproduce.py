"""mlctl reproduce: train again what a run recorded, and compare every figure."""

from __future__ import annotations

import dataclasses

from mlctl.adapters.runlog import local_runs
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Difference, Reproduction, Run
from mlctl.errors import RefusedError
from mlctl.services.recipes import prepare
from mlctl.services.runs import select
from mlctl.services.training.changes import recipe_source, versions_changed
from mlctl.services.workflows.resume import given_to, request_of
from mlctl.services.workflows.train import run_training
from mlctl.settings import Settings

NOT_COMPARED = {"learning_rate"}  # an input, not a result


def reproduce(settings: Settings, selector: str, listener: ProgressListener) -> Reproduction:
    """Train a run anew from its record; return the new run and where its figures differ.

    Raises RefusedError where recipe or data are not what they were: that would be another training.
    """
    store = TrackingStore(settings.tracking_uri)
    run = select.find(store, selector)
    request = request_of(run)
    changed: list[str] = []
    source = recipe_source(
        settings, run, request.source, local_runs.folder_of(settings.state_dir, run.run_id), changed
    )
    recipe, values = prepare.recipe_values(source, given_to(run))
    prepared = prepare.prepare(settings, recipe, values, request.data, request.rows, listener)
    if run.data and run.data.sha256 != prepared.data.sha256:
        changed.append("data")
    if changed:
        raise RefusedError(
            f"this is no longer what the run was made from: {', '.join(changed)}",
            f"take the old out: mlctl runs artifacts {run.run_id[:8]} --get recipe.py",
        )
    again = dataclasses.replace(
        request, source=source, given=given_to(run), precision=run.params["precision"], run_name=None, register=None,
        tags={"mlctl.reproduces": run.run_id},
    )  # fmt: skip
    made = run_training(settings, again, prepared, listener)
    return Reproduction(made, run.run_id, _differences(store, run, made), tuple(_reasons(run, made)))


def _differences(store: TrackingStore, run: Run, made: Run) -> tuple[Difference, ...]:
    """Return the first epoch at which each metric's history differs."""
    found = []
    for name in sorted((run.metrics.keys() | made.metrics.keys()) - NOT_COMPARED):
        then = dict(store.history(run.run_id, name)) if name in run.metrics else {}
        now = dict(store.history(made.run_id, name)) if name in made.metrics else {}
        for step in sorted(then.keys() | now.keys()):
            if then.get(step) != now.get(step):
                found.append(Difference(name, step, then.get(step), now.get(step)))
                break
    return tuple(found)


def _reasons(run: Run, made: Run) -> list[str]:
    """Return why figures may honestly differ: versions, processor, threads."""
    reasons = versions_changed(run)
    for name in ("mlctl.machine.cpu", "mlctl.machine.cores", "mlctl.machine.gpus"):
        then, now = run.tags.get(name), made.tags.get(name)
        if then != now:
            reasons.append(f"{name.removeprefix('mlctl.machine.')} ({then} then, {now} now)")
    return reasons
