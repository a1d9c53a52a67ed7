"""Turn a JSON tensor into an array.

A correct tensor takes one pass. Only a wrong one is searched for the position of its first mistake.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import Any

import numpy as np

from mlctl.serving.payloads.request_error import RequestError, bad_request, quote
from mlctl.serving.payloads.signature import TensorSpec

NUMBER_TYPES = frozenset({int, float})
EXACT_FLOATS = 2**53  # whole numbers up to this one have a float of their own
# what a value that does not fit is told to be, and what to send instead
_KINDS = {
    "number": ("a number", "send numbers, without quotes"),
    "truth": ("true or false", "send true or false, without quotes"),
    "text": ("a text", "send texts, in quotes"),
}

Array = np.ndarray[Any, Any]
Position = tuple[int, ...]


def holds_only_numbers(body: bytes, keys: int) -> bool:
    """Whether a JSON text with so many keys has no values besides numbers and null, which is quick to find out."""
    return body.count(b'"') == 2 * keys and b"true" not in body and b"false" not in body


def tensor_from_json(
    value: Any, spec: TensorSpec, full_scale: float | None = None, *, only_numbers: bool = False
) -> Array:
    """Return nested lists as an (n, …) array of the signature's type. Raises RequestError.

    Texts are an object array. Rows of different lengths, if the model takes them, are an object array of n arrays.

    Args:
        value: Nested lists.
        spec: Type and shape that the model takes.
        full_scale: Value of a fully lit pixel if the model takes images, else None.
        only_numbers: It is known that the lists hold no texts, and neither true nor false.
    """
    if not isinstance(value, list):
        raise bad_request(f"{_name_of(value)} is not nested lists", _spec_hint(spec))
    if spec.takes_any_length and _is_uneven(value):
        return _rows_of_any_length(value, spec, only_numbers)
    if 0 in (shape := _first_shape(value)) and not (shape[0] and spec.takes_any_length):
        raise bad_request("the tensor is empty", _spec_hint(spec))
    if 0 not in shape:
        check_shape(shape, spec)  # by its first entries, so that a megabyte of wrong shape costs nothing
    if spec.dtype == "str":
        return _texts_from_json(value, spec)
    if spec.dtype == "bool":
        return _truths_from_json(value, spec)
    if not only_numbers:  # NumPy would take true for 1
        _raise_for_other(value, "number")
    try:
        array = np.array(value)
    except ValueError:
        _raise_for_other(value, "number")
        _raise_for_uneven_list(value)
        raise bad_request("the tensor is not rectangular", _spec_hint(spec)) from None
    if array.dtype.kind not in "iuf":
        _raise_for_other(value, "number")
        raise bad_request("the tensor must hold only numbers", _spec_hint(spec))
    if array.dtype.kind == "f" and np.dtype(spec.dtype).kind in "iu" and (abs(array) >= EXACT_FLOATS).any():
        array = _exact_integers(value, array)
    return cast_tensor(array, spec, full_scale)


def cast_tensor(array: Array, spec: TensorSpec, full_scale: float | None = None) -> Array:
    """Return an array in the signature's type.

    Raises RequestError for values that the type cannot hold, and for pixels that were already scaled to 0..1.
    """
    if spec.dtype in ("str", "bool"):
        return _cast_to_kind(array, spec)
    dtype = np.dtype(spec.dtype)
    if array.dtype.kind not in "iuf" and array.dtype != object:
        raise bad_request(f"the tensor holds {array.dtype}, not numbers", _spec_hint(spec))
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
        # a float cannot hold the limits of 64 bits; it can hold the first number beyond them
        outside = (
            (array < float(limits.min)) | (array >= float(limits.max + 1))
            if array.dtype.kind == "f"
            else (array < limits.min) | (array > limits.max)
        )
        if outside.any():
            raise bad_request(
                f"{_short(array[outside][0])} at {_first_true(outside)} is outside {limits.min}..{limits.max}",
                _spec_hint(spec),
            )
    with np.errstate(over="ignore"):  # infinity is refused below
        result = array.astype(dtype, copy=False)
    if dtype.kind == "f" and dtype.itemsize < array.dtype.itemsize and not np.isfinite(result).all():
        raise bad_request(
            f"the number at {_first_true(~np.isfinite(result))} is too large for {dtype}", _spec_hint(spec)
        )
    return result


def _rows_of_any_length(value: list[Any], spec: TensorSpec, only_numbers: bool) -> Array:
    """Return rows of different lengths as an object array of arrays."""
    entry_spec = replace(spec, shape=(-1, *spec.shape[2:]))
    entries = list(chain.from_iterable(value))
    if not entries:
        entries_array = np.empty((0, *(max(length, 0) for length in spec.shape[2:])), _storage_type(spec))
    else:
        try:
            entries_array = tensor_from_json(entries, entry_spec, only_numbers=only_numbers)
        except RequestError:
            for number, row in enumerate(value):
                try:
                    if row:
                        tensor_from_json(row, entry_spec)
                except RequestError as error:
                    raise bad_request(f"row {number}: {error.message}", error.hint) from None
            raise
    rows = np.empty(len(value), object)
    start = 0
    for number, stop in enumerate(accumulate(map(len, value))):
        rows[number] = entries_array[start:stop]
        start = stop
    return rows


def _is_uneven(value: list[Any]) -> bool:
    return all(isinstance(row, list) for row in value) and len(set(map(len, value))) > 1


def _storage_type(spec: TensorSpec) -> np.dtype[Any]:
    return np.dtype(object if spec.dtype == "str" else spec.dtype)


def _texts_from_json(value: list[Any], spec: TensorSpec) -> Array:
    _raise_for_other(value, "text")
    # of dtype object: with dtype str, one long text would take as much memory in each row
    array = np.array(value, dtype=object)
    if array.ndim != len(spec.shape):
        _raise_for_uneven_list(value)
        raise bad_request("the tensor is not rectangular", _spec_hint(spec))
    return array


def _truths_from_json(value: list[Any], spec: TensorSpec) -> Array:
    try:
        array = np.array(value)
    except ValueError:
        _raise_for_other(value, "truth")
        _raise_for_uneven_list(value)
        raise bad_request("the tensor is not rectangular", _spec_hint(spec)) from None
    if array.dtype.kind not in "biu" or (array.dtype.kind != "b" and not np.isin(array, (0, 1)).all()):
        _raise_for_other(value, "truth")
        raise bad_request("the tensor must hold only true and false", _spec_hint(spec))
    return array.astype(bool, copy=False)


def _cast_to_kind(array: Array, spec: TensorSpec) -> Array:
    """Return an array from a file as texts or as true and false."""
    if spec.dtype == "str":
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
        if array.dtype.kind not in "UO":
            raise bad_request(f"the tensor holds {array.dtype}, not texts", _spec_hint(spec))
        return array.astype(object)
    if array.dtype.kind == "b" or (array.dtype.kind in "iu" and np.isin(array, (0, 1)).all()):
        return array.astype(bool)
    raise bad_request(f"the tensor holds {array.dtype}, not true and false", _spec_hint(spec))


def _exact_integers(value: list[Any], floats: Array) -> Array:
    """Return numbers that NumPy has rounded to floats as an object array of exact whole numbers, if they are whole."""
    if (floats != np.floor(floats)).any() or not np.isfinite(floats).all():
        return floats  # cast_tensor refuses them
    integers = np.empty(floats.shape, object)
    integers.ravel()[:] = [int(number) for number in np.array(value, dtype=object).ravel()]
    return integers


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
    if shape == row and row != (1,):
        hint = "wrap it in one more list: the first dimension counts the rows"
    elif row[-1:] == (1,) and len(row) > 1 and shape == row[:-1]:
        hint = "add a last dimension of 1 to each pixel, and one more list around everything"
    elif row[-1:] == (1,) and shape[1:] == row[:-1]:
        hint = f"add a last dimension of 1: each {'pixel' if len(row) > 2 else 'value'} in its own list"
    elif shape[-1:] == (1,) and shape[1:-1] == row:
        hint = f"remove the last dimension: each {'pixel is a plain number' if len(row) > 1 else 'row is a plain value'}"
    elif row_size and math.prod(shape) % row_size == 0:
        hint = f"reshape it to {(math.prod(shape) // row_size, *row)}"
    else:
        hint = _spec_hint(spec)
    raise bad_request(f"the tensor has shape {shape}, but the model takes {spec}", hint)


def _raise_for_other(value: Any, kind: str) -> None:
    """Raise RequestError for the first value that is not of this kind; return if all values are."""
    if (position := _find_other(value, kind)) is None:
        return
    for index in position:
        value = value[index]
    wanted, hint = _KINDS[kind]
    raise bad_request(f"{_name_of(value)} at {_path(position)} is not {wanted}", hint)


def _find_other(value: list[Any], kind: str) -> Position | None:
    """Return the position of the first value that is neither a list nor of this kind."""
    types = {"number": NUMBER_TYPES, "truth": frozenset({bool}), "text": frozenset({str})}[kind]
    if set(map(type, value)) <= types:
        return None
    for index, item in enumerate(value):
        if isinstance(item, list):
            if (inner := _find_other(item, kind)) is not None:
                return (index, *inner)
        elif type(item) not in types and not (kind == "truth" and type(item) is int and item in (0, 1)):
            return (index,)
    return None


def _name_of(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else "a dictionary" if isinstance(value, dict) else quote(value)


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
                f"lists and values are mixed at {_path(position)}", "every row must have the same depth"
            )


def _first_true(mask: Array) -> str:
    return _path([int(index) for index in np.argwhere(mask)[0]])


def _short(number: Any) -> str:
    return f"{number:g}" if isinstance(number, np.floating) else str(number)[:40]


def _path(position: Sequence[int]) -> str:
    return "".join(f"[{index}]" for index in position) or "the top level"


def _spec_hint(spec: TensorSpec) -> str:
    return f"send {spec} as nested lists under {spec.name or 'inputs'}"
