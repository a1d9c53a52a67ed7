"""The protocol's datatypes, and tensors of them as bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlctl.serving.payloads.request_error import bad_request, quote

Array = np.ndarray[Any, Any]

BYTES = "BYTES"
BF16 = "BF16"  # the upper half of a float32, which NumPy does not know
_DTYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    BF16: "float32",
    "FP32": "float32",
    "FP64": "float64",
    BYTES: "str",
}
_DATATYPES = {dtype: datatype for datatype, dtype in _DTYPES.items() if datatype != BF16}
_LENGTH = struct.Struct("<I")  # each element of BYTES follows its own length


def dtype_of(datatype: str) -> str:
    """Return the dtype of a datatype, as a signature names it. Raises RequestError for an unknown datatype."""
    if (dtype := _DTYPES.get(datatype)) is None:
        raise bad_request(f"{quote(datatype)} is not a datatype", f"the datatypes are {', '.join(_DTYPES)}")
    return dtype


def datatype_of(dtype: str) -> str:
    """Return the datatype of a dtype; BYTES if the dtype is none of the protocol's."""
    return _DATATYPES.get(dtype, BYTES)


def from_bytes(data: memoryview, datatype: str, shape: Sequence[int], name: str) -> Array:
    """Return a tensor that was sent as bytes; texts are an object array. Raises RequestError."""
    count = math.prod(shape)
    if datatype == BYTES:
        return _texts_from_bytes(data, count, name).reshape(shape)
    stored = np.dtype("uint16" if datatype == BF16 else dtype_of(datatype)).newbyteorder("<")
    if len(data) != count * stored.itemsize:
        raise bad_request(
            f"{quote(name)}: {len(data)} bytes were sent for {_shape_text(shape)} of {datatype}",
            f"send {count * stored.itemsize} bytes",
        )
    array = np.frombuffer(data, stored).reshape(shape)
    if datatype == BF16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    if datatype == "BOOL":
        if (array.view(np.uint8) > 1).any():
            raise bad_request(f"{quote(name)}: a byte of BOOL is neither 0 nor 1", "send 0 or 1")
        return array
    return array.astype(stored.newbyteorder("="), copy=False)


def to_bytes(array: Array) -> bytes:
    """Return a tensor's elements as bytes, little-endian and row by row."""
    if array.dtype == object:
        parts = [text if isinstance(text, bytes) else text.encode() for text in array.ravel()]
        return b"".join(_LENGTH.pack(len(part)) + part for part in parts)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _texts_from_bytes(data: memoryview, count: int, name: str) -> Array:
    texts: list[str] = []
    position = 0
    while len(texts) < count:
        start = position + _LENGTH.size
        if start > len(data):
            raise bad_request(
                f"{quote(name)}: the bytes end after {len(texts)} of {count} texts",
                "send the length of each text in 4 bytes, then the text",
            )
        position = start + _LENGTH.unpack_from(data, position)[0]
        if position > len(data):
            raise bad_request(
                f"{quote(name)}: the length of text {len(texts)} goes beyond the tensor's bytes",
                "send the length of each text in 4 bytes, little-endian",
            )
        try:
            texts.append(str(data[start:position], "utf-8"))
        except UnicodeDecodeError:
            raise bad_request(f"{quote(name)}: text {len(texts)} is not UTF-8", "send UTF-8") from None
    if position != len(data):
        raise bad_request(
            f"{quote(name)}: {len(data) - position} bytes follow the last of {count} texts",
            "send as many texts as the shape has",
        )
    return np.array(texts, dtype=object)


def _shape_text(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
