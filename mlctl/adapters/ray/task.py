"""What every task on a cluster needs: a channel to the process that started it, its recipe, and its failure.

A task reports its node before it imports anything heavy. If a node dies during TensorFlow's import, which takes
seconds, the task is known to be lost.
"""

from __future__ import annotations

import functools
import pickle
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, WorkerCrashedError

from mlctl.adapters.keras import runtime
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.domain.short_texts import describe_error
from mlctl.recipes import Recipe
from mlctl.recipes.lookup import local_sources

RECIPE, LISTING = "recipe", "recipe-files"  # storage keys: the folder of the recipe's files, and their names


@dataclass(frozen=True, kw_only=True)
class TaskChannel:
    """Sends messages from a task to the process that started it, through the message actor."""

    actor: Any
    task: str
    attempt: int
    node: str

    def send(self, message: Any, waits: bool = False) -> bool:
        """Send a message (None: only the node); return whether to continue, False if nobody receives it.

        With `waits`, the receiver decides.
        """
        content = b"" if message is None else pickle.dumps(message)
        try:
            return bool(ray.get(self.actor.post.remote((self.task, self.attempt, self.node, content), waits)))
        except RayError:
            return False


def run_task(actor: Any, task: str, attempt: int, module: str, name: str, arguments: bytes) -> Any:
    """Call the function `name` of a module with a channel and its arguments, unless the attempt is outdated."""
    node = str(ray.get_runtime_context().get_node_id())
    channel = TaskChannel(actor=actor, task=task, attempt=attempt, node=node)
    if not channel.send(None):
        return None
    function = getattr(import_module(module), name)
    return function(channel, *pickle.loads(arguments))  # noqa: S301 - from our own RayConnection.submit


def upload_recipe(storage: SharedStorage, recipe: Recipe, source: str) -> str:
    """Upload a user's recipe file, and the modules beside it that it imports.

    Returns the source from which `resolve_recipe` finds the recipe on any node.
    """
    if ".py" not in source:
        return recipe.name  # nodes have the built-in recipes
    file = recipe.source_file().resolve()
    upload_files(storage, file.parent, local_sources(recipe))
    return f"{file.name}:{type(recipe).__name__}"


def upload_files(storage: SharedStorage, folder: Path, files: Iterable[Path]) -> None:
    """Upload files of a folder, for `fetch_files`."""
    names = []
    for path in files:
        names.append(path.relative_to(folder).as_posix())
        storage.put(f"{RECIPE}/{names[-1]}", path)
    with tempfile.TemporaryDirectory() as temporary:
        listing = Path(temporary) / LISTING
        listing.write_text("\n".join(names), encoding="utf-8")
        storage.put(LISTING, listing)


def fetch_files(storage: SharedStorage) -> dict[str, Path]:
    """Return this node's copies of the files that `upload_files` uploaded, by their path in their folder."""
    names = storage.fetch(LISTING).read_text(encoding="utf-8").splitlines()
    return {name: storage.fetch(f"{RECIPE}/{name}") for name in names}


def resolve_recipe(storage: SharedStorage, source: str) -> str:
    """Return this node's source of a recipe that `upload_recipe` uploaded."""
    file, colon, name = source.partition(":")
    if not colon:
        return source
    return f"{fetch_files(storage)[file]}:{name}"


@functools.cache
def prepare_process(threads: int) -> None:
    """Import Keras and set the number of threads, once in each process."""
    runtime.import_keras()
    runtime.set_threads(threads)


def describe_failure(error: Exception | None) -> tuple[str, bool]:
    """Return why a task ended without a message, and whether its function raised an exception.

    It raises if the node has no access to the storage, or no mlctl.
    """
    if error is None:
        return "its process ended without an answer", False
    if cause := getattr(error, "cause", None):
        return describe_error(cause), True
    if isinstance(error, WorkerCrashedError):
        return "its process died", False
    return " ".join(f"{error}".split()).partition(". ")[0][:120], False
