"""Deleting runs, but never one whose model somebody may be serving."""

from __future__ import annotations

from collections.abc import Sequence

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Deleted
from mlctl.errors import RefusedError
from mlctl.services.runs.select import find


def deletable(tracking_uri: str, selectors: Sequence[str], experiment: str | None = None) -> tuple[Run, ...]:
    """Return the runs that the selectors name; raises RefusedError where a registered model needs one."""
    store = TrackingStore(tracking_uri)
    runs = tuple({run.run_id: run for run in (find(store, one, experiment) for one in selectors)}.values())
    for run in runs:
        if versions := store.registered_versions(run):
            raise RefusedError(
                f"run {run.run_name} ({run.run_id[:8]}) is registered as {', '.join(versions)}",
                "take it from the registry first: mlctl models delete",
            )
    return runs


def delete(tracking_uri: str, runs: Sequence[Run], dry_run: bool = False) -> Deleted:
    """Delete the runs with their logged models; MLflow keeps them until its garbage is collected."""
    store = TrackingStore(tracking_uri)
    for run in () if dry_run else runs:
        store.delete(run)
    return Deleted(tuple(runs), dry_run)
