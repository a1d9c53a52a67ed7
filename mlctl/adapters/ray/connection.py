"""The one connection to a Ray cluster: made, asked what there is, and closed."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray._private import worker
from ray.exceptions import AuthenticationError, RayError

from mlctl.adapters.ray import task as ray_task
from mlctl.adapters.ray.local_cluster import LocalNodes
from mlctl.adapters.ray.message_actor import Message, MessageActor
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.domain.cluster import Cluster
from mlctl.errors import ConfigurationError, MlctlError, UnreachableError

LOOK_S = 1.0  # how often the nodes are looked at
HEAD = {"node:__internal_head__": 0.001}  # what keeps the mailbox off the nodes that may go


class Connection:
    """A cluster, and the mailbox of what is run on it."""

    def __init__(self, cluster: Cluster, own: LocalNodes | None) -> None:
        """Connect, to `own` nodes where they were started for it; they end with the connection.

        Raises UnreachableError where nobody answers, ConfigurationError where the token or a version is wrong.
        """
        self.cluster = cluster
        self._looked = 0.0
        self._dead: set[str] = set()
        self._own = own
        self._connect(own.address if own else cluster.address)
        self.mailbox: Any = (
            ray.remote(MessageActor).options(num_cpus=0, resources=HEAD, max_restarts=0).remote()
        )

    @property
    def storage(self) -> SharedStorage:
        """The place that all nodes reach."""
        return SharedStorage.at(self.cluster.storage or str(self._own.folder if self._own else ""))

    @property
    def slots(self) -> int:
        """How many tasks the cluster has room for, as it is now."""
        there = ray.cluster_resources()
        wanted = {"CPU": self.cluster.cpu, "GPU": self.cluster.gpu}
        fits = [int(there.get(name, 0) // amount) for name, amount in wanted.items() if amount]
        return max(1, min(fits, default=1))

    def submit(self, task: str, attempt: int, work: Callable[..., Any], *given: Any) -> Any:
        """Run a module's function on the cluster, once, with a `Line` and what it is given; return Ray's reference.

        From now on no earlier attempt of this task is heard.
        """
        self._asked(self.mailbox.expect.remote(task, attempt))
        demands: dict[str, Any] = {
            "num_cpus": self.cluster.cpu,
            "num_gpus": self.cluster.gpu,
            "max_retries": 0,
        }
        if self.cluster.memory:
            demands["memory"] = self.cluster.memory
        return (
            ray.remote(ray_task.run)
            .options(name=task, **demands)
            .remote(self.mailbox, task, attempt, work.__module__, work.__name__, pickle.dumps(given))
        )

    def answer(self, task: str, go_on: bool) -> None:
        """Answer a task that waits."""
        self.mailbox.answer.remote(task, go_on)

    def messages(self, timeout_s: float) -> list[Message]:
        """Return what tasks have said, at the latest after `timeout_s`."""
        found: list[Message] = self._asked(self.mailbox.take.remote(timeout_s))
        return found

    def failures(self, tasks: Mapping[Any, str]) -> dict[Any, RayError | None]:
        """Return those of these tasks that are over, with what ended them: None where they ended by themselves.

        `tasks` says on which node each is ("" while it waits for one). A node counts as dead once the cluster
        says so: its processes may still be alive, and Ray then goes on waiting for them.
        """
        found: dict[Any, RayError | None] = {}
        over, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=0) if tasks else ([], [])
        for one in over:
            try:
                ray.get(one)
                found[one] = None
            except RayError as error:
                found[one] = error
        dead = self._dead_nodes()
        found |= {
            one: RayError("its node died") for one, node in tasks.items() if node in dead and one not in found
        }
        return found

    def close(self) -> None:
        """Leave the cluster, and end what was started for it."""
        if ray.is_initialized():
            ray.shutdown()
        if self._own:
            self._own.close()
            self._own = None

    def _connect(self, address: str) -> None:
        # Ray prints what happens to nodes on stdout, which is the answer's; the pool notices by itself
        worker.listen_error_messages = lambda *_: None
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=False)
        except AuthenticationError as exc:
            raise ConfigurationError(
                f"the Ray cluster {address} wants another token",
                "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE",
            ) from exc
        except (ConnectionError, RuntimeError, ValueError, RayError) as exc:
            raise _translated(address, exc) from exc

    def _asked(self, reference: Any) -> Any:
        try:
            return ray.get(reference)
        except RayError as exc:
            raise UnreachableError(
                f"the Ray cluster {self.cluster.address} has gone away: {type(exc).__name__}",
                "when it is back: mlctl resume RUN",
            ) from exc

    def _dead_nodes(self) -> set[str]:
        now = time.monotonic()
        if now - self._looked > LOOK_S:
            self._looked = now
            self._dead = {one["NodeID"] for one in ray.nodes() if not one["Alive"]}
        return self._dead


def _translated(address: str, exc: Exception) -> MlctlError:
    said = " ".join(str(exc).split())[:200]
    if "ersion" in said and "mismatch" in said.lower():
        return ConfigurationError(
            f"the Ray cluster {address} has other versions: {said}",
            "use its version of Ray and of Python here",
        )
    if "token" in said.lower() or "authenticat" in said.lower():
        return ConfigurationError(
            f"the Ray cluster {address} wants a token", "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE"
        )
    return UnreachableError(
        f"the Ray cluster {address} does not take us: {said}",
        "does it want a token? RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH=FILE. HOST:6379 is for its own nodes alone",
    )
