"""What every task on a cluster begins with, what it finds its recipe by, and what its end means.

A task says where it is before anything heavy is imported: a node that dies in the seconds of TensorFlow's import
would else be one that nobody knows to have had the task.
"""

from __future__ import annotations

import functools
import pickle
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import ray
from ray.exceptions import RayError

from mlctl.adapters.keras import runtime
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.recipes import Recipe


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


def carried(storage: SharedStorage, recipe: Recipe, source: str) -> str:
    """Store a recipe's own file; return what `found_there` finds the recipe by, on any node."""
    if ".py" not in source:
        return recipe.name  # one that is installed there, too, whatever data of a user's it was found for
    file = recipe.source_file()
    storage.put(file.name, file)
    return f"{file.name}:{type(recipe).__name__}"


def found_there(storage: SharedStorage, source: str) -> str:
    """Return where this node finds what `carried` has stored."""
    file, colon, name = source.partition(":")
    return f"{storage.fetch(file)}:{name}" if colon else source


@functools.cache
def prepare_process(threads: int) -> None:
    """Set up Keras and TensorFlow, once a process."""
    runtime.import_keras()
    import tensorflow as tf  # quiet only now

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def why(error: Exception | None) -> tuple[str, bool]:
    """Return why a task ended without a word of its own, and whether it raised: no storage, no mlctl on its node."""
    if error is None:
        return "its process ended without an answer", False
    if cause := getattr(error, "cause", None):
        return " ".join(f"{type(cause).__name__}: {cause}".split())[:300], True
    return " ".join(f"{error}".split()).partition(". ")[0][:120], False
