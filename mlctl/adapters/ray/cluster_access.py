"""Checks that a Ray cluster can be used, and connects to it."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from mlctl.adapters.ray.head_probe import probe_head
from mlctl.adapters.ray.local_cluster import LocalCluster
from mlctl.adapters.system import extras
from mlctl.adapters.system.provenance import available_cores
from mlctl.domain.cluster import Cluster
from mlctl.domain.progress import ProgressListener
from mlctl.errors import UnreachableError
from mlctl.machine import silent_stderr

if TYPE_CHECKING:
    from mlctl.adapters.ray.connection import RayConnection

# turn off Ray's usage statistics, and what both libraries write to stderr
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "TF_CPP_MIN_LOG_LEVEL": "3"}

PROBE_TIMEOUT_S = 5


def check_reachable(cluster: Cluster) -> None:
    """Check that Ray is installed and that the cluster's address accepts connections.

    Ray itself would retry for minutes, and this check imports nothing heavy.
    Raises ConfigurationError if Ray is not installed, and UnreachableError if nothing listens at the address.
    """
    extras.require_extra("ray", "ray", "--cluster")
    if cluster.local_node_count:
        return
    try:
        probe_head(cluster.address, PROBE_TIMEOUT_S)
    except (OSError, OverflowError) as exc:
        raise UnreachableError(
            f"no Ray cluster answers at {cluster.address}: {exc}",
            "use ray://HOST:10001 from outside the cluster, or HOST:6379 on one of its nodes",
        ) from exc


def connect(cluster: Cluster, listener: ProgressListener) -> RayConnection:
    """Connect to a cluster, or start local nodes for it. A process holds one connection at a time.

    Raises what `RayConnection` and `LocalCluster` raise.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    local_cluster: LocalCluster | None = None
    if cluster.local_node_count:
        listener.stage(f"starting a Ray cluster of {cluster.local_node_count} nodes")
        nodes = cluster.local_node_count
        workers = math.ceil(cluster.workers / nodes)  # of each node
        cpus = max(math.ceil(cluster.cpu * workers), available_cores() // nodes)
        local_cluster = LocalCluster(nodes=nodes, cpus=cpus, gpus=math.ceil(cluster.gpu * workers))
        os.environ.update(local_cluster.environment)
    else:
        listener.stage(f"connecting to {cluster.address}")
    try:
        with silent_stderr():
            # imported only now, because Ray reads its settings from the environment when it is imported
            from mlctl.adapters.ray.connection import RayConnection

            return RayConnection(cluster, local_cluster)
    except BaseException:
        if local_cluster:
            local_cluster.close()
        raise
