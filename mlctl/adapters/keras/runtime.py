"""TensorFlow and Keras: fast imports, seeds, precision, threads, and the hardware that they run on."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlctl.recipes.keras_import import fast_imports, import_keras

__all__ = ["fast_imports", "import_keras"]  # and all that is defined here

FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Hardware of this machine: names of its GPUs, CPU, number of cores, and whether it supports bfloat16."""

    gpus: tuple[str, ...]
    cpu: str
    cores: int
    bfloat16: bool


def detect_hardware() -> Hardware:
    """Return the hardware of this machine."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    cpu, flags = read_cpu()
    if gpus:
        bfloat16 = all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
    else:
        bfloat16 = bool({"avx512_bf16", "amx_bf16"} & flags)
    return Hardware(
        gpus=tuple(detail.get("device_name", "GPU") for detail in details),
        cpu=cpu,
        cores=os.cpu_count() or 1,
        bfloat16=bfloat16,
    )


def current_backend() -> str:
    """Return the backend of this process's Keras: a script may run on another one than TensorFlow."""
    import keras

    return str(keras.backend.backend())


def visible_gpus() -> list[str]:
    """Return the GPUs that this process sees, in the form of CUDA_VISIBLE_DEVICES."""
    import tensorflow as tf

    count = len(tf.config.list_physical_devices("GPU"))
    selected = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return selected.split(",")[:count] if selected else [str(number) for number in range(count)]


def is_fork_safe(hardware: Hardware) -> bool:
    """Return whether a process that has imported TensorFlow may fork.

    It may not on macOS, with a GPU, or if TensorFlow has run an operation: a fork has none of its threads.
    """
    return sys.platform == "linux" and not hardware.gpus and not has_run_tensorflow()


def has_run_tensorflow() -> bool:
    """Return whether this process has run a TensorFlow operation, as a recipe's `load` may do."""
    from tensorflow.python.eager import context

    return getattr(context._context, "_context_handle", None) is not None


def choose_precision(precision: str, *, prefer_bfloat16: bool, hardware: Hardware) -> str:
    """Return the precision to train in; "auto" is bfloat16 if the recipe prefers it and the hardware supports it."""
    if precision != "auto":
        return precision
    return BFLOAT16 if prefer_bfloat16 and hardware.bfloat16 else FLOAT32


def use_one_thread() -> None:
    """Make TensorFlow compute in one thread. This has an effect only before the process's first computation.

    Steps of a small network are shorter than passing them to other threads: training takes a third less CPU
    time, and ends sooner.
    """
    with suppress(RuntimeError):  # TensorFlow has computed already
        set_threads(1)


def set_threads(threads: int) -> None:
    """Set the number of threads within an operation; operations run one after another."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def start_session(seed: int, precision: str) -> None:
    """Forget earlier models, seed all random generators, and set the precision of layers that are built next."""
    import keras

    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)


def read_cpu() -> tuple[str, set[str]]:
    """Return the processor's name and its flags (no flags except on Linux)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return fields.get("model name", platform.machine()), set(fields.get("flags", "").split())
