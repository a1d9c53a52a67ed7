"""What a worker process gets to train, and which models it can train."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

JOB, PARTS = "worker-job", "worker-parts"  # storage keys


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """Values and data for the recipe's `build`, the seed, and the precision of the layers."""

    values: Any
    data: Any
    seed: int
    precision: str


def overridden_step(model: Any) -> str | None:
    """Return why this backend cannot train a model with a `train_step` of its own; None if it can."""
    own = type(model).train_step
    if own.__module__.startswith("keras."):
        return None
    import keras

    name = type(model).__name__
    names, code = getattr(own, "__globals__", {}), getattr(own, "__code__", None)
    if code is not None and any(_is_tensorflow(names.get(used)) for used in code.co_names):
        return f"the train_step of {name} uses TensorFlow"
    if keras.backend.backend() == "jax" and len(inspect.signature(own).parameters) < 3:
        return f"the train_step of {name} is not one for JAX, which takes a state and the data"
    return None


def _is_tensorflow(value: Any) -> bool:
    return inspect.ismodule(value) and value.__name__.partition(".")[0] == "tensorflow"
