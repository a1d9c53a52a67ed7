"""Deleting runs, except those whose model is registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.run_queries import DeletedRuns
from mlctl.errors import RefusedError
from mlctl.services.runs.select import find_runs


def delete_runs(
    tracking_uri: str,
    selectors: Sequence[str],
    *,
    confirm: Callable[[Sequence[Run]], None],
    experiment: str | None = None,
    dry_run: bool = False,
) -> DeletedRuns:
    """Delete runs with their logged models; MLflow keeps them until its garbage collection.

    `confirm` is called with the runs before they are deleted, and raises to cancel; a dry run does not call it.
    Raises RefusedError if the model of one of the runs is registered.
    """
    store = TrackingStore(tracking_uri)
    runs = find_runs(store, selectors, experiment)
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
