"""What a task on a cluster begins with: it says where it is before anything heavy is imported.

A node that dies in the seconds of TensorFlow's import would else be one that nobody knows to have had the task.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import ray
from ray.exceptions import RayError


@dataclass(frozen=True)
class Line:
    """From a task to whoever began it, by way of the mailbox."""

    mailbox: Any
    task: str
    attempt: int
    node: str

    def say(self, what: Any, waits: bool = False) -> bool:
        """Leave word; return whether to go on, which `waits` has the other side say. Not, where nobody hears."""
        said = b"" if what is None else pickle.dumps(what)
        try:
            return bool(ray.get(self.mailbox.tell.remote((self.task, self.attempt, self.node, said), waits)))
        except RayError:
            return False


def run(mailbox: Any, task: str, attempt: int, module: str, name: str, given: bytes) -> Any:
    """Call a function with a line and what it was given, unless another attempt has begun meanwhile."""
    line = Line(mailbox, task, attempt, str(ray.get_runtime_context().get_node_id()))
    if not line.say(None):
        return None
    return getattr(import_module(module), name)(line, *pickle.loads(given))  # noqa: S301 - ours, see Connection
