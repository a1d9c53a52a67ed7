"""Fast, silent imports of Keras on TensorFlow."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlctl.errors import ConfigurationError


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


def import_keras() -> None:
    """Import Keras on TensorFlow without its messages; raise ConfigurationError if another backend is set."""
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise ConfigurationError(
            f"KERAS_BACKEND is {backend}, but mlctl trains on TensorFlow", "unset KERAS_BACKEND"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow's C++ code writes to stderr before it reads its log level
    with fast_imports(), silent_stderr():
        import keras
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)  # leave memory for other programs
        keras.utils.disable_interactive_logging()


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Discard what C++ libraries write to file descriptor 2, unless TF_CPP_MIN_LOG_LEVEL is set to show it."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3":
        yield
        return
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)
