"""mlctl train: one recipe, one run, one model."""

from __future__ import annotations

from dataclasses import replace

from mlctl.adapters.tracking.health import check_reachable
from mlctl.domain.cluster import Cluster
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.errors import UsageError
from mlctl.services import clusters
from mlctl.services.models.names import check_name
from mlctl.services.recipes import prepare
from mlctl.services.recipes.defaults import with_defaults
from mlctl.services.training.request import Request, ResumePoint
from mlctl.settings import Settings


def train(
    settings: Settings, request: Request, listener: ProgressListener, cluster: Cluster | None = None
) -> Run:
    """Train, log and check a model, here or on a cluster; return its run.

    A model that cannot be registered fails when the run is finished and kept.

    Raises UsageError, NotFoundError, BadDataError for what was asked, UnreachableError where the store is
    away at the start. A run that fails is marked FAILED, one that is interrupted KILLED.
    """
    if request.register is not None:
        check_name(request.register)
    # what a default was is part of what was asked for: a resumed run must not read another mlctl.toml
    request = replace(request, given=with_defaults(settings, request.source, request.given))
    recipe, values = prepare.recipe_values(request.source, request.given)
    if cluster:
        demand_shared(settings, request, cluster)
    if not request.offline:
        check_reachable(settings.tracking_uri)
    prepared = prepare.prepare(settings, recipe, values, request.data, request.rows, listener)
    if not cluster:
        return run_training(settings, request, prepared, listener)
    connection = clusters.connect(cluster, listener)
    from mlctl.services.workflows import train_on_cluster  # Ray is an extra

    return train_on_cluster.train(settings, request, prepared, connection, listener)


def demand_shared(settings: Settings, request: Request, cluster: Cluster) -> None:
    """Raise UsageError where a cluster's nodes could not reach the store, and what `clusters.demand` raises."""
    if request.offline:
        raise UsageError(
            "--offline keeps a run on this machine, and --cluster trains on others", "leave one out"
        )
    if settings.tracking_uri.startswith("sqlite") and not cluster.own_nodes:
        raise UsageError(
            f"the nodes of {cluster.address} do not reach {settings.tracking_uri}",
            "mlctl server-up starts a server; then --tracking-uri http://HOST:PORT",
        )
    clusters.demand(cluster)


def run_training(
    settings: Settings, request: Request, prepared: prepare.PreparedData, listener: ProgressListener,
    resumed: ResumePoint | None = None,
) -> Run:  # fmt: skip
    """Load what trains, and train; `resumed` says where an earlier process has left the run."""
    # only now: all that can be wrong with what was typed has been told without loading TensorFlow
    listener.stage("starting TensorFlow and MLflow")
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    with runtime.frugal_imports():
        from mlctl.services.training.training import Training

    run = Training(settings, request, prepared, listener, resumed).run()
    if request.register:
        from mlctl.services.registry import register

        made = register.after_training(settings, run, request.register, listener)
        return replace(run, registered=f"{made.name}/{made.version}")
    return run
