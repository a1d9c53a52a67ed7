"""TensorFlow and Keras, imported the cheap way and set up once: seed, precision, threads, hardware."""

from __future__ import annotations

import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlctl.errors import ConfigurationError

FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"


@dataclass(frozen=True)
class Hardware:
    """What training runs on: GPUs by name, or a CPU with or without bfloat16 arithmetic."""

    gpus: tuple[str, ...]
    cpu: str
    cores: int
    bfloat16: bool


@contextmanager
def frugal_imports() -> Iterator[None]:
    """Import heavy libraries with the collector off, then freeze them: it would walk half a million objects."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def import_keras() -> None:
    """Import Keras on TensorFlow, quietly; raises ConfigurationError where another backend is set."""
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise ConfigurationError(
            f"KERAS_BACKEND is {backend}, and mlctl trains on TensorFlow", "unset KERAS_BACKEND"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with (
        frugal_imports(),
        silent_stderr(),
    ):  # TensorFlow's C++ writes to the descriptor before any level counts
        import keras
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)  # leave room for whoever else uses it
        keras.utils.disable_interactive_logging()


def hardware() -> Hardware:
    """Return what this machine trains on."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = tuple(detail.get("device_name", "GPU") for detail in details)
    capable = all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
    model, flags = cpu()
    cpu_can = bool({"avx512_bf16", "amx_bf16"} & flags)
    return Hardware(names, model, os.cpu_count() or 1, capable if gpus else cpu_can)


def gpus_by_number() -> list[str]:
    """Return the GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them to another."""
    import tensorflow as tf

    count = len(tf.config.list_physical_devices("GPU"))
    told = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return told.split(",")[:count] if told else [str(number) for number in range(count)]


def fork_is_safe(found: Hardware) -> bool:
    """Whether a process that has imported TensorFlow may be forked: not on macOS, nor beside a GPU's driver."""
    return sys.platform == "linux" and not found.gpus


def precision_for(wanted: str, worthwhile: bool, found: Hardware) -> str:
    """Return the precision to train in: `auto` takes bfloat16 where the recipe gains and the hardware has it."""
    if wanted != "auto":
        return wanted
    return BFLOAT16 if worthwhile and found.bfloat16 else FLOAT32


def keep_to_one_thread() -> None:
    """Let TensorFlow compute in one thread; it counts only before the first computation of the process.

    A small network's steps are shorter than handing them to other threads: a third less CPU, and sooner done.
    """
    import tensorflow as tf

    with suppress(RuntimeError):  # it has computed already
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def begin(seed: int, precision: str) -> None:
    """Forget earlier models, seed everything, and set the precision that layers are built in."""
    import keras

    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)


def cpu() -> tuple[str, set[str]]:
    """Return the processor's name and its flags (Linux; elsewhere no flags are known)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return found.get("model name", platform.machine()), set(found.get("flags", "").split())


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Send what C++ libraries write to descriptor 2 nowhere, unless TF_CPP_MIN_LOG_LEVEL asks for it."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3":
        yield
        return
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)
