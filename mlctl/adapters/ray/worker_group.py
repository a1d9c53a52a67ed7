"""Workers on the nodes of a cluster, which train one model together.

Each is an actor with a process of its own: JAX connects to other processes only once in a process's life, and Ray
uses its processes again.
"""

from __future__ import annotations

import socket
import time
from typing import Any

import ray
from ray.exceptions import RayError

from mlctl.adapters.keras.worker_group import WorkerFailedError, WorkerLostError, WorkerProcess
from mlctl.adapters.ray.task import resolve_recipe
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.domain.cluster import Cluster
from mlctl.errors import ChildFailedError
from mlctl.recipes.keras_import import JAX

START_TIMEOUT_S = 60.0  # for all workers to have a place on a node
PEERS_S = 10.0  # how long after a worker's failure another one may turn out to be dead, which explains it


class RayWorker:
    """One worker on a node, as an actor."""

    def __init__(self) -> None:
        self._process = WorkerProcess(JAX)

    def address(self) -> str:
        """Return an address on this node at which the workers can meet."""
        host = ray.util.get_node_ip_address()
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{host}:{free.getsockname()[1]}"

    def build(self, storage: SharedStorage, source: str) -> tuple[str, Any]:
        """Build the model of the recipe that `upload_recipe` uploaded; return as `call`."""
        return self.call("build", (storage, resolve_recipe(storage, source)))

    def call(self, method: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
        """Call a method of the `Worker`; return ("ok", value), ("failed", reason) or ("lost", reason)."""
        try:
            return "ok", self._process.call(method, *arguments)
        except WorkerFailedError as error:
            return "failed", str(error)
        except WorkerLostError as error:
            return "lost", str(error)

    def close(self) -> None:
        """End the process."""
        self._process.close()


class RayWorkers:
    """The workers of one training, on the cluster that this process is connected to.

    Attributes:
        size: number of workers; fewer after nodes have died, if the others have no room.
    """

    def __init__(self, cluster: Cluster, storage: SharedStorage, source: str) -> None:
        """Take the resources of each worker, the storage for their files, and the recipe as `resolve_recipe` does."""
        self.size = cluster.workers
        self.storage, self.source = storage, source
        self._cluster = cluster
        self._actors: list[Any] = []

    def start(self) -> None:
        """Start the workers on nodes that are alive, and connect them."""
        self.close()
        self.size = self._fitting_size()
        cluster = self._cluster
        options: dict[str, Any] = {
            "num_cpus": cluster.cpu,
            "num_gpus": cluster.gpu,
            "max_restarts": 0,
            "scheduling_strategy": "SPREAD",
        }
        if cluster.memory:
            options["memory"] = cluster.memory
        actor_class = ray.remote(RayWorker).options(**options)
        self._actors = [actor_class.remote() for _ in range(self.size)]
        addresses = [actor.address.remote() for actor in self._actors]
        arrived, _ = ray.wait(addresses, num_returns=self.size, timeout=START_TIMEOUT_S)
        self._keep([address in arrived for address in addresses])
        if not arrived:
            raise WorkerLostError("no worker found room on the cluster")
        try:
            coordinator = ray.get(next(address for address in addresses if address in arrived))
        except RayError as exc:
            raise WorkerLostError("a worker's node or actor died") from exc
        _gather(
            [
                actor.call.remote("join", (coordinator, self.size, rank))
                for rank, actor in enumerate(self._actors)
            ]
        )

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of each worker; return the answers, the first worker's first."""
        if method == "build":
            return _gather([actor.build.remote(*arguments) for actor in self._actors])
        return _gather([actor.call.remote(method, arguments) for actor in self._actors])

    def close(self) -> None:
        """End the workers."""
        for actor in self._actors:
            ray.kill(actor)  # its process ends when its pipe closes, or when it next uses the network
        self._actors = []

    def _keep(self, is_kept: list[bool]) -> None:
        """End the actors that are not kept: they have found no room, which others may use."""
        for actor, kept in zip(self._actors, is_kept, strict=True):
            if not kept:
                ray.kill(actor)
        self._actors = [actor for actor, kept in zip(self._actors, is_kept, strict=True) if kept]
        self.size = len(self._actors)

    def _fitting_size(self) -> int:
        """Return for how many workers there is room; raise ChildFailedError if there is none for a long time."""
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            resources = ray.cluster_resources()
            needed = {"CPU": self._cluster.cpu, "GPU": self._cluster.gpu}
            room = min(int(resources.get(name, 0) // amount) for name, amount in needed.items() if amount)
            if room:
                return min(self._cluster.workers, room)
            if time.monotonic() > end:
                raise ChildFailedError("no node has room for a worker", "lower --cpu, --gpu or --memory")
            time.sleep(1)


def _gather(calls: list[Any]) -> list[Any]:
    """Return the values of calls of all workers; raise WorkerLostError as soon as one is dead, or WorkerFailedError."""
    pending, failure, deadline = list(calls), "", float("inf")
    while pending and time.monotonic() < deadline:
        ended, pending = ray.wait(pending, timeout=1)
        for call in ended:
            try:
                outcome, value = ray.get(call)
            except RayError as exc:
                raise WorkerLostError("a worker's node or actor died") from exc
            if outcome == "lost":
                raise WorkerLostError(value)
            if outcome == "failed" and not failure:
                failure, deadline = value, time.monotonic() + PEERS_S
    if failure:
        raise WorkerFailedError(failure)
    return [value for _, value in ray.get(calls)]
