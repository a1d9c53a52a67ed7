"""Train on a node of a cluster, and relay the training's progress and result to the process that started it."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ray import cancel

from mlctl.adapters.ray.connection import RayConnection
from mlctl.adapters.ray.task import TaskChannel, describe_failure
from mlctl.adapters.system import code_pickle
from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch, ProgressListener
from mlctl.domain.run import Run
from mlctl.errors import ChildFailedError, MlctlError

STEP_INTERVAL_S = 1.0  # between two reports of steps
ENDED, FAILED = "ended", "failed"


def save_with_code(path: Path, value: Any) -> None:
    """Pickle a value with the classes and functions of recipe files in it."""
    path.write_bytes(code_pickle.dump(value, by_value=True))


def send_result(channel: TaskChannel, run: Run) -> None:
    """Send a finished run."""
    channel.send((ENDED, (run,)))


def send_failure(channel: TaskChannel, error: MlctlError) -> None:
    """Send the error that ended a node's training."""
    channel.send((FAILED, (error,)))


def follow(
    connection: RayConnection,
    work: Callable[..., None],
    *arguments: Any,
    name: str,
    attempt: int,
    listener: ProgressListener,
) -> Run | str:
    """Run one attempt of a training on the cluster; return its run, or why the attempt was lost.

    Args:
        connection: Cluster.
        work: Function of a module, which takes a `TaskChannel` and `arguments`, and sends a result or a failure.
        arguments: Further arguments of `work`.
        name: Name of the task.
        attempt: Number of the attempt, from 1.
        listener: Receives the node's progress.

    Raises what the training raises, and ChildFailedError if the node cannot train at all.
    """
    task = connection.submit(name, attempt, work, *arguments)
    node = ""
    while True:
        try:
            failures = connection.failures({task: node})
            for _, number, sender, content in connection.messages(0 if failures else 0.5):
                if number != attempt:
                    continue
                node = sender
                if not content:
                    continue
                method, values = pickle.loads(content)  # noqa: S301 - our own task has sent it
                if method == ENDED:
                    return values[0]  # type: ignore[no-any-return]
                if method == FAILED:
                    raise values[0]
                getattr(listener, method)(*values)
        except KeyboardInterrupt:
            cancel(task)  # its process gets Ctrl-C, keeps what is done, and sends its failure
            continue
        if task in failures:
            reason, raised = describe_failure(failures[task])
            if raised:
                raise ChildFailedError(f"the training failed: {reason}", "check the cluster's logs")
            return reason


class RelayedProgress:
    """A ProgressListener on a node: sends each call to `follow`, and ends its process if nothing receives it."""

    def __init__(self, channel: TaskChannel) -> None:
        self._channel = channel
        self._step_sent_at = 0.0

    def _send(self, method: str, *values: Any) -> None:
        if not self._channel.send((method, values)):
            # another attempt has the run now, or the training was given up: this process must not record any more
            os._exit(1)

    def message(self, text: str) -> None:
        """Send it."""
        self._send("message", text)

    def download(self, name: str, done: int, total: int | None) -> None:
        """Send nothing: the node has the data."""

    def training_started(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Send it."""
        self._send("training_started", what, epochs, steps, objective)

    def step(self, epoch: int, done: int, steps: int, loss: Callable[[], float]) -> None:
        """Send it at intervals, and at the end of an epoch: before the epoch is recorded."""
        now = time.monotonic()
        if done == steps or now - self._step_sent_at > STEP_INTERVAL_S:
            self._step_sent_at = now
            self._send("step", epoch, done, steps, partial(float, loss()))

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: Epoch, seconds: float) -> None:
        """Send it."""
        best = replace(best, metrics=dict(best.metrics))
        self._send("epoch_ended", epoch, dict(metrics), best, seconds)

    def stage(self, what: str) -> None:
        """Send it."""
        self._send("stage", what)
