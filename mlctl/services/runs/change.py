"""Tag, rename and restore runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run_queries import ChangedRuns
from mlctl.errors import NotFoundError, UsageError
from mlctl.services.runs.select import find_run


def tag_run(
    tracking_uri: str,
    selector: str,
    *,
    tags: Mapping[str, str],
    remove: Sequence[str],
    experiment: str | None = None,
) -> ChangedRuns:
    """Set and remove tags of a run; return it. Raises NotFoundError if it lacks a tag to remove."""
    store = TrackingStore(tracking_uri)
    run = find_run(store, selector, experiment)
    for key in (*tags, *remove):
        if key.startswith("mlctl."):
            raise UsageError(f"{key} is a tag of mlctl itself", "choose a key without the prefix mlctl.")
    if missing := [key for key in remove if key not in run.tags]:
        raise NotFoundError(
            f"run {run.run_name} has no tag {missing[0]!r}", f"see its tags: mlctl runs show {run.run_name}"
        )
    with store.translate_errors():
        for key, value in tags.items():
            store.client.set_tag(run.run_id, key, value)
        for key in remove:
            store.client.delete_tag(run.run_id, key)
    return ChangedRuns((store.get_run(run.run_id),), "tagged")


def rename_run(tracking_uri: str, selector: str, name: str, *, experiment: str | None = None) -> ChangedRuns:
    """Give a run another name; return it."""
    if not name.strip():
        raise UsageError("a run's name cannot be empty", "example: mlctl runs rename last baseline")
    store = TrackingStore(tracking_uri)
    run = find_run(store, selector, experiment)
    with store.translate_errors():
        store.client.update_run(run.run_id, name=name)
    return ChangedRuns((store.get_run(run.run_id),), "renamed")


def restore_runs(tracking_uri: str, selectors: Sequence[str]) -> ChangedRuns:
    """Restore deleted runs; return them. Raises NotFoundError, and UsageError if several have a name or prefix."""
    store = TrackingStore(tracking_uri)
    ids = [_deleted_id(store, selector) for selector in selectors]
    with store.translate_errors():
        for run_id in ids:
            store.client.restore_run(run_id)
    return ChangedRuns(tuple(store.get_run(run_id) for run_id in ids), "restored")


def _deleted_id(store: TrackingStore, selector: str) -> str:
    deleted = store.deleted_runs()
    found = [run_id for run_id, name in deleted.items() if selector in {run_id, name}]
    found = found or [
        run_id for run_id in deleted if len(selector) >= 3 and run_id.startswith(selector.lower())
    ]
    if not found:
        raise NotFoundError(
            f"there is no deleted run {selector!r}",
            f"deleted runs: {', '.join(list(deleted.values())[:10])}" if deleted else "no run is deleted",
        )
    if len(found) > 1:
        listed = ", ".join(run_id[:12] for run_id in found[:5])
        raise UsageError(f"several deleted runs are {selector!r}: {listed}", "write one of these ids")
    return found[0]
