"""A JSON tensor to an array: one pass where it is right, and the place of the first mistake where it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlctl.serving.request_error import bad, quoted
from mlctl.serving.signature import Tensor

NUMBER_TYPES = frozenset({int, float})

Array = np.ndarray[Any, Any]


def to_tensor(value: Any, body: bytes, wanted: Tensor, full_scale: float | None) -> Array:
    """Return (n, …) of the wanted type from nested lists; `body` is the text that they were read from.

    `full_scale` is what a fully lit pixel is worth, where the model takes pictures. Raises Refusal.
    """
    if 0 in (shape := _first_shape(value)):
        raise bad("the tensor is empty", _wanted(wanted))
    check_shape(shape, wanted)  # by its first entries: a wrong megabyte is not looked through
    # two quotes are the key's own; words are looked for in the text because NumPy takes true for 1
    if body.count(b'"') != 2 or b"true" in body or b"false" in body or b"null" in body:
        _blame_cell(value)
    try:
        found = np.array(value)
    except ValueError:
        _blame_length(value)
        raise bad("the tensor is not rectangular", _wanted(wanted)) from None
    if found.dtype.kind not in "iuf":
        _blame_cell(value)
        raise bad("the tensor holds other things than numbers", _wanted(wanted))
    return cast(found, wanted, full_scale)


def cast(found: Array, wanted: Tensor, full_scale: float | None) -> Array:
    """Return numbers in the wanted type; raises Refusal for those that it cannot hold, and for scaled pixels."""
    dtype = np.dtype(wanted.dtype)
    if found.dtype.kind == "f":
        if not np.isfinite(found).all():
            place = _place(~np.isfinite(found))
            raise bad(f"the number at {place} is too large", "send finite numbers")
        if full_scale is not None and full_scale > 1:
            _check_scale(found, full_scale)
        if dtype.kind in "iu" and (uneven := found != np.floor(found)).any():
            where = found[tuple(np.argwhere(uneven)[0])]
            raise bad(f"{where:g} at {_place(uneven)} is not a whole number", _wanted(wanted))
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        outside = (found < limits.min) | (found > limits.max)
        if outside.any():
            raise bad(
                f"{found[tuple(np.argwhere(outside)[0])]:g} at {_place(outside)} is outside"
                f" {limits.min}..{limits.max}",
                _wanted(wanted),
            )
    exact = found.astype(dtype, copy=False)
    if dtype.kind == "f" and dtype.itemsize < found.dtype.itemsize and not np.isfinite(exact).all():
        raise bad(f"the number at {_place(~np.isfinite(exact))} is too large for {dtype}", _wanted(wanted))
    return exact


def _check_scale(found: Array, full_scale: float) -> None:
    """Refuse pictures that were scaled to 0..1 for a model that scales them itself: the silent mistake."""
    if found.min() >= 0 and found.max() <= 1 and (found != np.floor(found)).any():
        raise bad(
            f"the pixels lie between 0 and 1; this model takes pixels from 0 to {full_scale:g}",
            f"multiply them by {full_scale:g}: the model scales them itself",
        )


def check_shape(shape: tuple[int, ...], wanted: Tensor) -> None:
    """Raise Refusal, with the likely remedy, where a shape is not what is wanted."""
    target = wanted.shape
    if len(shape) == len(target) and all(a in (b, -1) for a, b in zip(target, shape, strict=True)):
        return
    message = f"the tensor has shape {_shown(shape)}, wanted is {wanted}"
    one = target[1:]
    size = math.prod(one) if all(length > 0 for length in one) else 0
    if shape == one:
        hint = "wrap it in one more list: the first dimension counts the rows"
    elif one[-1:] == (1,) and shape == one[:-1]:
        hint = "add a last dimension of 1 to each pixel, and one more list around it all"
    elif one[-1:] == (1,) and shape[1:] == one[:-1]:
        hint = "add a last dimension of 1: each pixel in a list of its own"
    elif shape[-1:] == (1,) and shape[1:-1] == one:
        hint = "leave out the last dimension: each pixel is a plain number"
    elif size and math.prod(shape) % size == 0:
        hint = f"reshape it to {_shown((math.prod(shape) // size, *one))}"
    else:
        hint = _wanted(wanted)
    raise bad(message, hint)


def _blame_cell(value: Any) -> None:
    """Raise for the first value that is not a number, with its place; return where all are."""
    if (place := _first_other(value)) is None:
        return
    one = value
    for index in place:
        one = one[index]
    named = "null" if one is None else ("a dictionary" if isinstance(one, dict) else _json(one))
    raise bad(f"{named} at {_at(place)} is not a number", "send numbers, without quotes")


def _first_other(value: list[Any]) -> tuple[int, ...] | None:
    """Return the place of the first value that is neither a list nor a number; a row is looked at as a whole."""
    if set(map(type, value)) <= NUMBER_TYPES:
        return None
    for index, one in enumerate(value):
        if isinstance(one, list):
            if (inner := _first_other(one)) is not None:
                return (index, *inner)
        elif type(one) not in NUMBER_TYPES:
            return (index,)
    return None


def _first_shape(value: Any) -> tuple[int, ...]:
    """Return the shape as the first entry of each level has it."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _blame_length(value: Any) -> None:
    """Raise for the first list whose length, or depth, is not that of its first sibling."""
    level: list[tuple[tuple[int, ...], Any]] = [((), value)]
    while level and all(isinstance(one, list) for _, one in level):
        length = len(level[0][1])
        for place, one in level:
            if len(one) != length:
                raise bad(
                    f"the list at {_at(place)} has {len(one)} entries, the first has {length}",
                    "every row must have the same length",
                )
        level = [((*place, index), inner) for place, one in level for index, inner in enumerate(one)]
    for place, one in level:
        if isinstance(one, list) != isinstance(level[0][1], list):
            raise bad(f"lists and numbers are mixed at {_at(place)}", "every row must have the same depth")


def _json(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else quoted(value)


def _place(mask: Array) -> str:
    return _at(tuple(int(index) for index in np.argwhere(mask)[0]))


def _at(place: Sequence[int]) -> str:
    return "".join(f"[{index}]" for index in place) or "the top"


def _shown(shape: Sequence[int]) -> str:
    return str(tuple(shape))


def _wanted(wanted: Tensor) -> str:
    return f"wanted is {wanted}: nested lists under inputs"
