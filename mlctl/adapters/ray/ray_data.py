"""A function applied to items on a Ray cluster with Ray Data, which repeats what a lost node has not finished."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import ray.data
from ray.exceptions import RayError

from mlctl.domain.cluster import Cluster
from mlctl.errors import ChildFailedError, MlctlError

ITEM, RESULT, ERROR = "item", "result", "error"


def map_items(function: Callable[[Any], Any], items: Sequence[Any], cluster: Cluster) -> Iterator[Any]:
    """Yield the result of a module's function for each item, in any order; the process is connected to the cluster.

    If a node dies, the function is called again for its items. Raises the MlctlError that the function raises, and
    ChildFailedError for any other failure.
    """
    if not items:
        return
    _silence()
    dataset = ray.data.from_items(
        [{ITEM: pickle.dumps(item)} for item in items], override_num_blocks=len(items)
    )
    resources: dict[str, Any] = {
        "num_cpus": cluster.cpu,
        "num_gpus": cluster.gpu or None,
        "memory": cluster.memory,
    }
    call = partial(_call, function.__module__, function.__name__)
    # tasks, not actors: an actor of a lost node waits for room that the other nodes do not have
    wanted = {name: value for name, value in resources.items() if value}
    results = dataset.map(call, ray_remote_args_fn=_retry_always, **wanted)
    try:
        for row in results.iter_rows():
            if row[ERROR]:
                raise pickle.loads(row[ERROR])  # noqa: S301 - from our own task
            yield pickle.loads(row[RESULT])  # noqa: S301 - from our own task
    except RayError as exc:
        reason = str(exc).strip().splitlines()[-1][:300]
        raise ChildFailedError(
            f"the cluster failed: {reason}", "run the same command again to continue"
        ) from exc


def _retry_always() -> dict[str, Any]:
    return {"max_retries": -1}


def _call(module: str, name: str, row: dict[str, Any]) -> dict[str, bytes]:
    """Call a function on a node; an MlctlError becomes a value, so that Ray does not wrap it."""
    function = getattr(import_module(module), name)
    try:
        return {RESULT: pickle.dumps(function(pickle.loads(row[ITEM]))), ERROR: b""}  # noqa: S301 - from `map_items`
    except MlctlError as error:
        return {RESULT: b"", ERROR: pickle.dumps(error)}


def _silence() -> None:
    """Keep Ray Data's bars and messages off the terminal."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
