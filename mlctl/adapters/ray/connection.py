"""The connection to a Ray cluster: submits tasks, passes messages, and detects failures."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray._private import worker
from ray.exceptions import AuthenticationError, RayError

from mlctl.adapters.ray.head_probe import HeadWatch
from mlctl.adapters.ray.local_cluster import LocalCluster
from mlctl.adapters.ray.message_actor import Message, MessageActor
from mlctl.adapters.ray.task import run_task
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.domain.cluster import Cluster
from mlctl.domain.short_texts import one_line
from mlctl.errors import ConfigurationError, MlctlError, UnreachableError

NODE_CHECK_S = 1.0
HEAD_NODE = {"node:__internal_head__": 0.001}  # the message actor must not be on a node that may leave
AUTHENTICATION_HINT = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE"


class RayConnection:
    """A connected cluster, and the message actor of the tasks that run on it."""

    def __init__(self, cluster: Cluster, local_cluster: LocalCluster | None) -> None:
        """Connect, to `local_cluster` if it is set; `close` ends it.

        Raises UnreachableError if the cluster does not answer, ConfigurationError if the token or a version is
        wrong.
        """
        self.cluster = cluster
        self._nodes_checked_at = 0.0
        self._dead_nodes: set[str] = set()
        self._local_cluster = local_cluster
        address = local_cluster.address if local_cluster else cluster.address
        self._head = HeadWatch(address, cluster.address)
        self._connect(address)
        actor_class = ray.remote(MessageActor).options(num_cpus=0, resources=HEAD_NODE, max_restarts=0)
        self._actor: Any = actor_class.remote()

    @property
    def storage(self) -> SharedStorage:
        """The storage that all nodes can reach."""
        return SharedStorage.parse(
            self.cluster.storage or str(self._local_cluster.folder if self._local_cluster else "")
        )

    @property
    def slots(self) -> int:
        """How many tasks the cluster has room for now, at least 1."""
        resources = ray.cluster_resources()
        needed = {"CPU": self.cluster.cpu, "GPU": self.cluster.gpu}
        fits = [int(resources.get(name, 0) // amount) for name, amount in needed.items() if amount]
        return max(1, min(fits, default=1))

    def submit(self, task: str, attempt: int, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function of a module on the cluster, once, with a `TaskChannel` and the arguments.

        Messages of earlier attempts of this task are ignored from now on. Returns Ray's reference.
        """
        self._get(self._actor.accept.remote(task, attempt))
        options: dict[str, Any] = {
            "name": task,
            "num_cpus": self.cluster.cpu,
            "num_gpus": self.cluster.gpu,
            "max_retries": 0,
        }
        if self.cluster.workers > 1:  # the task waits while its workers compute
            options |= {"num_cpus": 0, "num_gpus": 0}
        elif self.cluster.memory:
            options["memory"] = self.cluster.memory
        return (
            ray.remote(run_task)
            .options(**options)
            .remote(
                self._actor, task, attempt, function.__module__, function.__name__, pickle.dumps(arguments)
            )
        )

    def answer(self, task: str, proceed: bool) -> None:
        """Answer a task that waits."""
        self._actor.answer.remote(task, proceed)

    def messages(self, timeout_s: float) -> list[Message]:
        """Return the tasks' messages; wait for the first one up to `timeout_s` seconds."""
        messages: list[Message] = self._get(self._actor.receive.remote(timeout_s))
        return messages

    def failures(self, tasks: Mapping[Any, str]) -> dict[Any, RayError | None]:
        """Return the tasks that have ended, each with its error; None for a task that returned.

        Args:
            tasks: Node of each task; "" for a task that has no node yet.

        A task on a node that the cluster declares dead has failed. Its processes may still be alive, and Ray
        would wait for them. Raises UnreachableError if the head has been silent for half a minute.
        """
        failures: dict[Any, RayError | None] = {}
        ended, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=0) if tasks else ([], [])
        for task in ended:
            try:
                ray.get(task)
                failures[task] = None
            except RayError as error:
                failures[task] = error
        dead_nodes = self._find_dead_nodes()
        for task, node in tasks.items():
            if node in dead_nodes and task not in failures:
                failures[task] = RayError("its node died")
        return failures

    def close(self) -> None:
        """Disconnect, and end the local cluster."""
        if ray.is_initialized():
            ray.shutdown()
        if self._local_cluster:
            self._local_cluster.close()
            self._local_cluster = None

    def _connect(self, address: str) -> None:
        # Ray prints messages about nodes to stdout, which is for the command's answer only
        worker.listen_error_messages = lambda *_: None
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=False)
        except AuthenticationError as exc:
            raise ConfigurationError(
                f"the Ray cluster {address} requires another token", AUTHENTICATION_HINT
            ) from exc
        except (ConnectionError, RuntimeError, ValueError, RayError) as exc:
            raise _translate_error(address, exc) from exc

    def _get(self, reference: Any) -> Any:
        try:
            return ray.get(reference)
        except RayError as exc:
            raise UnreachableError(
                f"the connection to the Ray cluster {self.cluster.address} is lost: {type(exc).__name__}",
                "when the cluster is back: mlctl resume RUN",
            ) from exc

    def _find_dead_nodes(self) -> set[str]:
        now = time.monotonic()
        if now - self._nodes_checked_at > NODE_CHECK_S and self._head.is_there():  # Ray would wait for it
            self._nodes_checked_at = now
            self._dead_nodes = {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
        return self._dead_nodes


def _translate_error(address: str, exc: Exception) -> MlctlError:
    text = one_line(exc)
    if "ersion" in text and "mismatch" in text.lower():
        return ConfigurationError(
            f"the Ray cluster {address} has other versions: {text}",
            "install the cluster's versions of Ray and Python here",
        )
    if "token" in text.lower() or "authenticat" in text.lower():
        return ConfigurationError(f"the Ray cluster {address} requires a token", AUTHENTICATION_HINT)
    return UnreachableError(
        f"the Ray cluster {address} refuses the connection: {text}",
        f"if it requires a token, {AUTHENTICATION_HINT}. Use ray://HOST:10001; HOST:6379 is for the cluster's own nodes",
    )
