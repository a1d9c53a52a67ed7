"""Arrays as tensors on the same memory, which forked workers then share."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

ALIGNED = 64  # bytes: where TensorFlow's kernels want an array to begin

Array = np.ndarray[Any, Any]


def aligned(array: Array) -> Array:
    """Return the array, or a copy of it, where `resident` can use its memory."""
    at_place = array.ctypes.data % ALIGNED == 0 and array.flags.c_contiguous and array.flags.writeable
    if at_place or not _can_be_shared(array):
        return array
    room = np.empty(array.nbytes + ALIGNED, np.uint8)
    start = -room.ctypes.data % ALIGNED
    found = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def resident(array: Array) -> tf.Tensor:
    """Return an array as a tensor on its memory, once it is `aligned`; a copy of it where a GPU is to have it.

    `tf.constant` takes twice the array's memory in every process, and forked ones would share none of it.
    """
    if not _can_be_shared(array) or tf.config.list_physical_devices("GPU"):
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(aligned(array).__dlpack__())


def _can_be_shared(array: Array) -> bool:
    """Whether DLPack takes it: numbers in this machine's own order, no booleans and no text."""
    return array.dtype.kind in "fiu" and array.dtype.isnative
