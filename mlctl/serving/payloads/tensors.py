"""Turn a JSON tensor into an array.

A correct tensor takes one pass. Only a wrong one is searched for the position of its first mistake.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from itertools import accumulate, chain
from typing import Any

import numpy as np

from mlctl.domain.numbers import EXACT_FLOATS, MAX_EXACT
from mlctl.serving.payloads.cells import InexactNumber
from mlctl.serving.payloads.request_error import RequestError, bad_request
from mlctl.serving.payloads.signature import TensorSpec
from mlctl.serving.payloads.tensor_errors import (
    Position,
    check_pixel_scale,
    first_true,
    name_of,
    path_of,
    refuse_not_finite,
    refuse_other,
    refuse_uneven,
    short_number,
    spec_hint,
)

Array = np.ndarray[Any, Any]


def holds_only_numbers(body: bytes, keys: int) -> bool:
    """Whether a JSON text with so many keys has no values besides numbers and null, which is quick to find out."""
    return body.count(b'"') == 2 * keys and b"true" not in body and b"false" not in body


def tensor_from_json(
    value: Any,
    spec: TensorSpec,
    full_scale: float | None = None,
    *,
    only_numbers: bool = False,
    takes_gaps: bool = False,
    is_exact: bool = True,
) -> Array:
    """Return nested lists as an (n, …) array of the signature's type.

    Texts are an object array. Rows of different lengths, if the model takes them, are an object array of n arrays.

    Args:
        value: Nested lists.
        spec: Type and shape that the model takes.
        full_scale: Value of a fully lit pixel if the model takes images, else None.
        only_numbers: It is known that the lists hold no texts, and neither true nor false.
        takes_gaps: A tensor of floats may hold null and NaN.
        is_exact: Large whole numbers have all their digits. If not, InexactNumber is raised for them.

    Raises:
        RequestError: The lists do not fit.
    """
    if not isinstance(value, list):
        raise bad_request(f"{name_of(value)} is not nested lists", spec_hint(spec))
    if spec.takes_any_length and _is_uneven(value):
        return _rows_of_any_length(
            value, spec, only_numbers=only_numbers, takes_gaps=takes_gaps, is_exact=is_exact
        )
    if 0 in (shape := _first_shape(value)) and not (shape[0] and spec.takes_any_length):
        raise bad_request("the tensor is empty", spec_hint(spec))
    if 0 not in shape:
        check_shape(shape, spec)  # by its first entries, so that a megabyte of wrong shape costs nothing
    if spec.dtype == "str":
        return _texts_from_json(value, spec)
    if spec.dtype == "bool":
        return _truths_from_json(value, spec)
    is_float = np.dtype(spec.dtype).kind == "f"
    kind = "number or null" if takes_gaps and is_float else "number"
    if not only_numbers:  # NumPy would take true for 1
        refuse_other(value, kind)
    try:
        array = np.array(value)
    except ValueError:
        refuse_other(value, kind)
        refuse_uneven(value)
        raise bad_request("the tensor is not rectangular", spec_hint(spec)) from None
    if array.dtype.kind not in "iuf":  # it has null, or whole numbers of more than 64 bits
        refuse_other(value, kind)
        if array.dtype != object:
            raise bad_request("the tensor must hold only numbers", spec_hint(spec))
        array = _to_floats(array) if is_float else _exact_integers(array, spec, is_exact=is_exact)
    elif array.dtype.kind == "f" and not is_float and (abs(array) >= EXACT_FLOATS).any():
        array = _exact_integers(np.array(value, dtype=object), spec, is_exact=is_exact)
    return cast_tensor(array, spec, full_scale, takes_gaps=takes_gaps)


def cast_tensor(
    array: Array, spec: TensorSpec, full_scale: float | None = None, *, takes_gaps: bool = False
) -> Array:
    """Return an array in the signature's type.

    Raises RequestError for values that the type cannot hold, for NaN unless `takes_gaps`, and for pixels that were
    already scaled to 0..1.
    """
    if spec.dtype in ("str", "bool"):
        return _cast_to_kind(array, spec)
    dtype = np.dtype(spec.dtype)
    if array.dtype.kind not in "iuf" and array.dtype != object:
        raise bad_request(f"the tensor holds {array.dtype}, not numbers", spec_hint(spec))
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            refuse_not_finite(array, takes_nan=takes_gaps and dtype.kind == "f")
        if full_scale is not None and full_scale > 1:
            check_pixel_scale(array, full_scale)
        if dtype.kind in "iu" and (fractional := array != np.floor(array)).any():
            number = array[fractional][0]
            raise bad_request(
                f"{number:g} at {first_true(fractional)} is not a whole number", spec_hint(spec)
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
                f"{short_number(array[outside][0])} at {first_true(outside)} is outside {limits.min}..{limits.max}",
                spec_hint(spec),
            )
    with np.errstate(over="ignore"):  # infinity is refused below
        result = array.astype(dtype, copy=False)
    if dtype.kind == "f" and dtype.itemsize < 8 and (is_infinite := np.isinf(result)).any():
        raise bad_request(
            f"{short_number(array[is_infinite][0])} at {first_true(is_infinite)} is too large for {dtype}: it is outside"
            f" ±{float(np.finfo(dtype).max):.8g}",
            spec_hint(spec),
        )
    return result


def _rows_of_any_length(value: list[Any], spec: TensorSpec, **options: Any) -> Array:
    """Return rows of different lengths as an object array of arrays; `options` are those of `tensor_from_json`."""
    entry_spec = replace(spec, shape=(-1, *spec.shape[2:]))
    entries = list(chain.from_iterable(value))
    if not entries:
        entries_array = np.empty((0, *(max(length, 0) for length in spec.shape[2:])), _storage_type(spec))
    else:
        try:
            entries_array = tensor_from_json(entries, entry_spec, **options)
        except RequestError:
            for number, row in enumerate(value):
                try:
                    if row:
                        tensor_from_json(row, entry_spec, **(options | {"only_numbers": False}))
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
    refuse_other(value, "text")
    # of dtype object: with dtype str, one long text would take as much memory in each row
    array = np.array(value, dtype=object)
    if array.ndim != len(spec.shape):
        refuse_uneven(value)
        raise bad_request("the tensor is not rectangular", spec_hint(spec))
    return array


def _truths_from_json(value: list[Any], spec: TensorSpec) -> Array:
    try:
        array = np.array(value)
    except ValueError:
        refuse_other(value, "truth")
        refuse_uneven(value)
        raise bad_request("the tensor is not rectangular", spec_hint(spec)) from None
    if array.dtype.kind not in "biu" or (array.dtype.kind != "b" and not np.isin(array, (0, 1)).all()):
        refuse_other(value, "truth")
        raise bad_request("the tensor must hold only true and false", spec_hint(spec))
    return array.astype(bool, copy=False)


def _cast_to_kind(array: Array, spec: TensorSpec) -> Array:
    """Return an array from a file as texts or as true and false."""
    if spec.dtype == "str":
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
        if array.dtype.kind not in "UO":
            raise bad_request(f"the tensor holds {array.dtype}, not texts", spec_hint(spec))
        return array.astype(object)
    if array.dtype.kind == "b" or (array.dtype.kind in "iu" and np.isin(array, (0, 1)).all()):
        return array.astype(bool)
    raise bad_request(f"the tensor holds {array.dtype}, not true and false", spec_hint(spec))


def _exact_integers(numbers: Array, spec: TensorSpec, *, is_exact: bool) -> Array:
    """Return numbers, as JSON has them, as whole numbers with all their digits."""
    integers = np.empty(numbers.shape, object)
    inexact: Position | None = None
    for position, number in np.ndenumerate(numbers):
        if isinstance(number, float):
            if not math.isfinite(number):
                refuse_not_finite(np.array(numbers, np.float64), takes_nan=False)
            if abs(number) >= EXACT_FLOATS and not is_exact:
                raise InexactNumber
            if number != math.floor(number):
                raise bad_request(f"{number!r} at {path_of(position)} is not a whole number")
            if EXACT_FLOATS <= abs(number) < MAX_EXACT:
                inexact = inexact or position
        integers[position] = int(number)
    cast = cast_tensor(integers, spec)  # refuses what is out of range
    if inexact is not None:
        raise bad_request(
            f"{numbers[inexact]!r} at {path_of(inexact)} is too large to be exact",
            "send it as a whole number",
        )
    return cast
    return integers


def _to_floats(numbers: Array) -> Array:
    """Return numbers and null, as JSON has them, as float64."""
    try:
        return numbers.astype(np.float64)
    except OverflowError:
        for position, number in np.ndenumerate(numbers):
            if isinstance(number, int) and abs(number) > sys.float_info.max:
                raise bad_request(
                    f"the number at {path_of(position)} is too large", "send finite numbers"
                ) from None
        raise


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
        hint = spec_hint(spec)
    raise bad_request(f"the tensor has shape {shape}, but the model takes {spec}", hint)


def _first_shape(value: Any) -> tuple[int, ...]:
    """Return the shape that the first entry of each level suggests."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)
