"""mlctl train: one recipe, one run, one model."""

from __future__ import annotations

from dataclasses import replace

from mlctl.adapters.ray import cluster_access
from mlctl.adapters.tracking.health import check_reachable
from mlctl.domain.cluster import Cluster
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.script import ScriptRequest
from mlctl.errors import UsageError
from mlctl.recipes import resolve
from mlctl.recipes.keras_import import JAX, requested_backend
from mlctl.services.models.names import check_name
from mlctl.services.recipes.defaults import with_defaults
from mlctl.services.recipes.notes import announce_notes
from mlctl.services.recipes.prepare import check_values, prepare
from mlctl.services.training.backend import check_backend, check_data
from mlctl.services.training.request import TrainRequest
from mlctl.services.workflows.run_training import run_training
from mlctl.settings import Settings


def train(
    settings: Settings, request: TrainRequest, listener: ProgressListener, cluster: Cluster | None = None
) -> Run:
    """Train, log and check a model, here or on a cluster; return its run.

    If the model cannot be registered, the run is finished and kept, and the error is raised. A run that fails
    is marked FAILED, an interrupted one KILLED. Raises UsageError, NotFoundError and BadDataError for a wrong
    request, UnreachableError if the store does not answer at the start.
    """
    if request.register is not None:
        check_name(request.register)
    resolved = resolve(request.source)
    # the defaults become part of the request: a resumed run must not read another mlctl.toml
    backend = JAX if cluster and cluster.workers > 1 else requested_backend()
    request = replace(
        request, overrides=with_defaults(settings, resolved.recipe, request.overrides), backend=backend
    )
    values = check_values(resolved, request.overrides)
    if cluster:
        check_cluster(settings, request, cluster)
    if not request.offline:
        check_reachable(settings.tracking_uri)
    check_backend(request, resolved.recipe)
    announce_notes(resolved.recipe, values, request.overrides, listener)
    prepared = prepare(settings, resolved, values, data=request.data, rows=request.rows, listener=listener)
    check_data(request, prepared, cluster.workers if cluster else 1)
    if not cluster:
        return run_training(settings, request, prepared, listener=listener)
    connection = cluster_access.connect(cluster, listener)
    from mlctl.services.workflows import train_on_cluster  # Ray is an extra

    return train_on_cluster.train(settings, request, prepared, connection=connection, listener=listener)


def check_cluster(settings: Settings, request: TrainRequest | ScriptRequest, cluster: Cluster) -> None:
    """Raise UsageError if the cluster's nodes cannot reach the store, or as `check_reachable` does."""
    if request.offline:
        raise UsageError(
            "--offline keeps a run on this machine, but --cluster trains on others", "remove one of them"
        )
    if settings.tracking_uri.startswith("sqlite") and not cluster.local_node_count:
        raise UsageError(
            f"the nodes of {cluster.address} do not reach {settings.tracking_uri}",
            "start a server with mlctl server-up, then use --tracking-uri http://HOST:PORT",
        )
    cluster_access.check_reachable(cluster)
