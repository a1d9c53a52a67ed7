"""Arrays as tensors on the same memory, so that forked processes share it."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

ALIGNMENT = 64  # bytes: TensorFlow's kernels use an array in place only if it begins at a multiple of this

Array = np.ndarray[Any, Any]


def align(array: Array) -> Array:
    """Return the array, or a copy of it whose memory `to_tensor` can use in place."""
    is_aligned = array.ctypes.data % ALIGNMENT == 0 and array.flags.c_contiguous and array.flags.writeable
    if is_aligned or not _supports_dlpack(array):
        return array
    buffer = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def to_tensor(array: Array) -> tf.Tensor:
    """Return a tensor on the array's own memory if it is aligned; a copy if there is a GPU.

    `tf.constant` takes twice the array's memory in every process, and forked processes would share none of it.
    """
    if not _supports_dlpack(array) or tf.config.list_physical_devices("GPU"):
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(align(array).__dlpack__())


def _supports_dlpack(array: Array) -> bool:
    """Return whether DLPack takes the array: numbers in native byte order, no booleans and no text."""
    return array.dtype.kind in "fiu" and array.dtype.isnative
