"""Create, rename, delete and restore experiments."""

from __future__ import annotations

from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run_queries import ChangedExperiment
from mlctl.errors import NotFoundError, RefusedError


def create_experiment(
    tracking_uri: str, name: str, artifact_location: str | None = None
) -> ChangedExperiment:
    """Create an experiment. Raises RefusedError if there is one of this name, also a deleted one."""
    store = TrackingStore(tracking_uri, create=True)
    _require_unused(store, name)
    with store.without_retries():
        experiment_id = store.client.create_experiment(name, artifact_location)
    return ChangedExperiment(name, str(experiment_id), "created")


def rename_experiment(tracking_uri: str, name: str, new_name: str) -> ChangedExperiment:
    """Rename an experiment. Raises NotFoundError, and RefusedError if the new name is used."""
    store = TrackingStore(tracking_uri)
    experiment_id = _id_of(store, name)
    _require_unused(store, new_name)
    with store.translate_errors():
        store.client.rename_experiment(experiment_id, new_name)
    return ChangedExperiment(new_name, experiment_id, "renamed")


def plan_deletion(tracking_uri: str, name: str) -> tuple[str, int]:
    """Return the id of an experiment and its number of runs.

    Raises NotFoundError, and RefusedError if a model of it is registered.
    """
    store = TrackingStore(tracking_uri)
    experiment_id = _id_of(store, name)
    versions = {version.run_id: version for version in Registry(store).list_versions() if version.run_id}
    for run in store.get_runs(sorted(versions)):
        if run.experiment == name:
            version = versions[run.run_id]
            raise RefusedError(
                f"the model of run {run.run_name} is registered as {version.name} version {version.version}",
                "delete it from the registry first: mlctl models delete",
            )
    count = next(found.runs for found in store.list_experiments() if found.experiment_id == experiment_id)
    return experiment_id, count


def delete_experiment(tracking_uri: str, name: str) -> ChangedExperiment:
    """Delete an experiment with its runs; MLflow keeps them until its garbage collection."""
    experiment_id, _ = plan_deletion(tracking_uri, name)
    store = TrackingStore(tracking_uri)
    with store.translate_errors():
        store.client.delete_experiment(experiment_id)
    return ChangedExperiment(name, experiment_id, "deleted")


def restore_experiment(tracking_uri: str, selector: str) -> ChangedExperiment:
    """Restore a deleted experiment, by its name or id, with its runs. Raises NotFoundError."""
    store = TrackingStore(tracking_uri)
    deleted = store.deleted_experiments()
    found = [key for key, name in deleted.items() if selector in {key, name}]
    if not found:
        names = ", ".join(sorted(deleted.values())[:10])
        raise NotFoundError(
            f"there is no deleted experiment {selector!r}",
            f"deleted experiments: {names}" if names else "no experiment is deleted",
        )
    with store.translate_errors():
        store.client.restore_experiment(found[0])
    return ChangedExperiment(deleted[found[0]], found[0], "restored")


def _id_of(store: TrackingStore, name: str) -> str:
    """Return the id of an experiment. Raises NotFoundError."""
    ids = store.experiment_ids(name)
    if not ids:  # there is no store yet
        raise NotFoundError(f"there is no experiment {name!r}", f"create it: mlctl experiments create {name}")
    return ids[0]


def _require_unused(store: TrackingStore, name: str) -> None:
    if any(found.name == name for found in store.experiments_by_id.values()):
        raise RefusedError(f"there is an experiment {name!r} already", "choose another name")
    if name in store.deleted_experiments().values():
        raise RefusedError(
            f"a deleted experiment has the name {name!r}",
            f"restore it (mlctl experiments restore {name}), or remove it for good: mlctl server-gc",
        )
