"""Turn a JSON tensor into an array.

A correct tensor takes one pass. Only a wrong one is searched for the position of its first mistake.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlctl.serving.payloads.request_error import bad_request, quote
from mlctl.serving.payloads.signature import TensorSpec

NUMBER_TYPES = frozenset({int, float})

Array = np.ndarray[Any, Any]
Position = tuple[int, ...]


def tensor_from_json(value: Any, body: bytes, spec: TensorSpec, full_scale: float | None) -> Array:
    """Return nested lists as an (n, …) array of the signature's type. Raises RequestError.

    Args:
        value: Nested lists.
        body: JSON text that the lists were read from.
        spec: Type and shape that the model takes.
        full_scale: Value of a fully lit pixel if the model takes images, else None.
    """
    if 0 in (shape := _first_shape(value)):
        raise bad_request("the tensor is empty", _spec_hint(spec))
    check_shape(shape, spec)  # by its first entries, so that a megabyte of wrong shape costs nothing
    # two quotes belong to the key; the text is searched for words because NumPy would take true for 1
    if body.count(b'"') != 2 or b"true" in body or b"false" in body or b"null" in body:
        _raise_for_non_number(value)
    try:
        array = np.array(value)
    except ValueError:
        _raise_for_uneven_list(value)
        raise bad_request("the tensor is not rectangular", _spec_hint(spec)) from None
    if array.dtype.kind not in "iuf":
        _raise_for_non_number(value)
        raise bad_request("the tensor must hold only numbers", _spec_hint(spec))
    return cast_tensor(array, spec, full_scale)


def cast_tensor(array: Array, spec: TensorSpec, full_scale: float | None) -> Array:
    """Return an array of numbers in the signature's type.

    Raises RequestError for numbers that the type cannot hold, and for pixels that were already scaled to 0..1.
    """
    dtype = np.dtype(spec.dtype)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise bad_request(
                f"the number at {_first_true(~np.isfinite(array))} is too large", "send finite numbers"
            )
        if full_scale is not None and full_scale > 1:
            _check_pixel_scale(array, full_scale)
        if dtype.kind in "iu" and (fractional := array != np.floor(array)).any():
            number = array[fractional][0]
            raise bad_request(
                f"{number:g} at {_first_true(fractional)} is not a whole number", _spec_hint(spec)
            )
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        outside = (array < limits.min) | (array > limits.max)
        if outside.any():
            raise bad_request(
                f"{array[outside][0]:g} at {_first_true(outside)} is outside {limits.min}..{limits.max}",
                _spec_hint(spec),
            )
    result = array.astype(dtype, copy=False)
    if dtype.kind == "f" and dtype.itemsize < array.dtype.itemsize and not np.isfinite(result).all():
        raise bad_request(
            f"the number at {_first_true(~np.isfinite(result))} is too large for {dtype}", _spec_hint(spec)
        )
    return result


def _check_pixel_scale(array: Array, full_scale: float) -> None:
    """Refuse images that were scaled to 0..1 for a model that scales them itself: a silent mistake otherwise."""
    if array.min() >= 0 and array.max() <= 1 and (array != np.floor(array)).any():
        raise bad_request(
            f"the pixels lie between 0 and 1, but this model takes pixels from 0 to {full_scale:g}",
            f"multiply them by {full_scale:g}: the model scales them itself",
        )


def check_shape(shape: tuple[int, ...], spec: TensorSpec) -> None:
    """Raise RequestError, with the likely remedy, if a shape does not fit the signature."""
    if len(shape) == len(spec.shape) and all(
        wanted in (length, -1) for wanted, length in zip(spec.shape, shape, strict=True)
    ):
        return
    row = spec.shape[1:]
    row_size = math.prod(row) if all(length > 0 for length in row) else 0
    if shape == row:
        hint = "wrap it in one more list: the first dimension counts the rows"
    elif row[-1:] == (1,) and shape == row[:-1]:
        hint = "add a last dimension of 1 to each pixel, and one more list around everything"
    elif row[-1:] == (1,) and shape[1:] == row[:-1]:
        hint = "add a last dimension of 1: each pixel in its own list"
    elif shape[-1:] == (1,) and shape[1:-1] == row:
        hint = "remove the last dimension: each pixel is a plain number"
    elif row_size and math.prod(shape) % row_size == 0:
        hint = f"reshape it to {(math.prod(shape) // row_size, *row)}"
    else:
        hint = _spec_hint(spec)
    raise bad_request(f"the tensor has shape {shape}, but the model takes {spec}", hint)


def _raise_for_non_number(value: Any) -> None:
    """Raise RequestError for the first value that is not a number; return if all values are numbers."""
    if (position := _find_non_number(value)) is None:
        return
    for index in position:
        value = value[index]
    if isinstance(value, bool):
        name = str(value).lower()
    else:
        name = "null" if value is None else "a dictionary" if isinstance(value, dict) else quote(value)
    raise bad_request(f"{name} at {_path(position)} is not a number", "send numbers, without quotes")


def _find_non_number(value: list[Any]) -> Position | None:
    """Return the position of the first value that is neither a list nor a number."""
    if set(map(type, value)) <= NUMBER_TYPES:
        return None
    for index, item in enumerate(value):
        if isinstance(item, list):
            if (inner := _find_non_number(item)) is not None:
                return (index, *inner)
        elif type(item) not in NUMBER_TYPES:
            return (index,)
    return None


def _first_shape(value: Any) -> tuple[int, ...]:
    """Return the shape that the first entry of each level suggests."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _raise_for_uneven_list(value: Any) -> None:
    """Raise RequestError for the first list whose length or depth differs from its first sibling's."""
    level: list[tuple[Position, Any]] = [((), value)]
    while level and all(isinstance(item, list) for _, item in level):
        length = len(level[0][1])
        for position, item in level:
            if len(item) != length:
                raise bad_request(
                    f"the list at {_path(position)} has {len(item)} entries, but the first has {length}",
                    "every row must have the same length",
                )
        level = [((*position, index), inner) for position, item in level for index, inner in enumerate(item)]
    for position, item in level:
        if isinstance(item, list) != isinstance(level[0][1], list):
            raise bad_request(
                f"lists and numbers are mixed at {_path(position)}", "every row must have the same depth"
            )


def _first_true(mask: Array) -> str:
    return _path([int(index) for index in np.argwhere(mask)[0]])


def _path(position: Sequence[int]) -> str:
    return "".join(f"[{index}]" for index in position) or "the top level"


def _spec_hint(spec: TensorSpec) -> str:
    return f"send {spec} as nested lists under inputs"
