"""Connecting to a cluster: what it needs, in the order that it needs it."""

from __future__ import annotations

import math
import os
import socket
from typing import TYPE_CHECKING

from mlctl.adapters.keras.runtime import silent_stderr
from mlctl.adapters.ray.local_cluster import LocalNodes
from mlctl.adapters.system import extras
from mlctl.adapters.system.provenance import cores
from mlctl.domain.cluster import Cluster
from mlctl.domain.progress import ProgressListener
from mlctl.errors import UnreachableError

if TYPE_CHECKING:
    from mlctl.adapters.ray.connection import Connection

# Ray counts its users, and both libraries write to stderr
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "TF_CPP_MIN_LOG_LEVEL": "3"}

PROBE_S = 5


def demand(cluster: Cluster) -> None:
    """Return where a cluster could be connected to; asked before anything heavy is loaded.

    Raises ConfigurationError where Ray is not installed, UnreachableError where nobody listens: Ray tries for minutes.
    """
    extras.demand("ray", "ray", "--cluster")
    if cluster.own_nodes:
        return
    host, _, port = cluster.address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_S).close()
    except (OSError, OverflowError) as exc:
        raise UnreachableError(
            f"no Ray cluster answers at {cluster.address}: {exc}",
            "ray://HOST:10001 from outside, HOST:6379 on one of its nodes",
        ) from exc


def connect(cluster: Cluster, listener: ProgressListener) -> Connection:
    """Connect to a cluster, or start nodes of this machine's own, as often as wanted but to one at a time.

    Raises what `Connection` and `LocalNodes` raise.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    own: LocalNodes | None = None
    if cluster.own_nodes:
        listener.stage(f"starting a Ray cluster of {cluster.own_nodes} nodes")
        cpus = max(math.ceil(cluster.cpu), cores() // cluster.own_nodes)
        own = LocalNodes(cluster.own_nodes, cpus, math.ceil(cluster.gpu))
        os.environ.update(own.environment)
    else:
        listener.stage(f"connecting to {cluster.address}")
    try:
        with silent_stderr():
            # only now: Ray reads its settings from the environment when it is imported
            from mlctl.adapters.ray.connection import Connection

            return Connection(cluster, own)
    except BaseException:
        if own:
            own.close()
        raise
