"""Arrow arrays to and from NumPy without importing pandas, which pyarrow's own conversions do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow

_FLOATS = {"halffloat": "float16", "float": "float32", "double": "float64"}  # NumPy's names of Arrow's types


def text_array(texts: Sequence[str]) -> pyarrow.Array:
    """Return texts as an Arrow array."""
    import pyarrow

    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    buffers = [None, pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(encoded))]
    return pyarrow.Array.from_buffers(pyarrow.large_string(), len(encoded), buffers)


def number_array(numbers: np.ndarray[Any, Any]) -> pyarrow.Array:
    """Return numbers (n,) as an Arrow array of their type."""
    import pyarrow

    numbers = np.ascontiguousarray(numbers)
    if numbers.dtype.kind == "b":
        return number_array(numbers.astype(np.uint8)).cast(pyarrow.bool_())
    arrow_type = pyarrow.from_numpy_dtype(numbers.dtype)
    return pyarrow.Array.from_buffers(arrow_type, len(numbers), [None, pyarrow.py_buffer(numbers)])


def to_numpy(array: pyarrow.Array, fill: Any = np.nan) -> np.ndarray[Any, Any]:
    """Return an Arrow array of numbers, or of true and false, with `fill` for missing values."""
    import pyarrow
    from pyarrow import compute

    if pyarrow.types.is_boolean(array.type):
        return to_numpy(array.cast(pyarrow.uint8()), fill).astype(bool)
    dtype = np.dtype(_FLOATS.get(str(array.type), str(array.type)))
    if array.null_count:
        array = compute.coalesce(array, number_array(np.array([fill], dtype))[0])
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)
