"""Fast, silent imports of Keras, and the backend that it trains on."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlctl.errors import ConfigurationError
from mlctl.machine import silent_stderr

TENSORFLOW, JAX, TORCH = BACKENDS = "tensorflow", "jax", "torch"
WORKER_VARIABLE = "MLCTL_KERAS_WORKER"  # set in processes that train on another backend
_requested: dict[str, str] = {}


@contextmanager
def fast_imports() -> Iterator[None]:
    """Disable garbage collection during imports, and exempt the imported objects from it afterwards.

    Heavy libraries create half a million objects, which every collection would traverse.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def requested_backend() -> str:
    """Return the Keras backend that the user wants to train on; raise ConfigurationError for an unknown one.

    That is what KERAS_BACKEND says when this is called for the first time: `import_keras` changes it.
    """
    backend = _requested.setdefault("backend", os.environ.get("KERAS_BACKEND") or TENSORFLOW)
    if backend not in BACKENDS:
        raise ConfigurationError(
            f"KERAS_BACKEND is {backend}, and mlctl trains on {', '.join(BACKENDS)}", "unset KERAS_BACKEND"
        )
    return backend


def require_tensorflow(what: str) -> None:
    """Raise ConfigurationError if the user wants another backend for what trains on TensorFlow only."""
    if (backend := requested_backend()) != TENSORFLOW:
        raise ConfigurationError(
            f"KERAS_BACKEND is {backend}, but {what} on TensorFlow only",
            "unset KERAS_BACKEND; mlctl train RECIPE takes it",
        )


def import_keras() -> None:
    """Import Keras without its messages: on TensorFlow, except in a worker process of another backend.

    Whatever KERAS_BACKEND says, mlctl's own process has the model on TensorFlow: it is saved, exported and checked
    there. On another backend, a worker process trains it (see `mlctl.adapters.keras.worker`).
    """
    if os.environ.get(WORKER_VARIABLE):
        with fast_imports():
            import keras

            keras.utils.disable_interactive_logging()
        return
    requested_backend()
    os.environ["KERAS_BACKEND"] = TENSORFLOW  # also for the processes that this one starts
    with fast_imports(), silent_stderr():
        import keras
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)  # leave memory for other programs
        keras.utils.disable_interactive_logging()
