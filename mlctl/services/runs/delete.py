"""Deleting runs, except those whose model is registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.run_queries import DeletedRuns
from mlctl.errors import NotFoundError, RefusedError, UsageError
from mlctl.services.runs.listing import list_runs
from mlctl.services.runs.select import find_runs


def delete_runs(
    tracking_uri: str,
    selectors: Sequence[str],
    *,
    confirm: Callable[[Sequence[Run]], None],
    where: str | None = None,
    experiment: str | None = None,
    dry_run: bool = False,
) -> DeletedRuns:
    """Delete runs with their logged models; MLflow keeps them until its garbage collection.

    `confirm` is called with the runs before they are deleted, and raises to cancel; a dry run does not call it.
    `where` selects all runs that match a filter, trials of searches included.
    Raises RefusedError if the model of one of the runs is registered.
    """
    store = TrackingStore(tracking_uri)
    runs = _selected(store, selectors, where, experiment)
    for run in runs:
        if versions := store.list_registered_versions(run):
            raise RefusedError(
                f"the model of run {run.run_name} ({run.run_id[:8]}) is registered as {', '.join(versions)}",
                "delete it from the registry first: mlctl models delete",
            )
    if not dry_run:
        confirm(runs)
        for run in runs:
            store.delete_run(run)
    return DeletedRuns(tuple(runs), dry_run)


def _selected(
    store: TrackingStore, selectors: Sequence[str], where: str | None, experiment: str | None
) -> Sequence[Run]:
    if where is None:
        if not selectors:
            raise UsageError("no run is given", "name runs, or a filter: --where 'status = FAILED'")
        return find_runs(store, selectors, experiment)
    if selectors:
        raise UsageError("runs and --where exclude each other", "use one of them")
    found = list_runs(store.tracking_uri, experiment=experiment, where=where, limit=0, trials=True).runs
    if not found:
        raise NotFoundError(f"no run matches {where!r}", f"try it: mlctl runs list --where {where!r}")
    return found
