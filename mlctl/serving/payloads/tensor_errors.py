"""The mistakes in a tensor: find the first one, and say where it is and what to send instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlctl.serving.payloads.request_error import bad_request, quote
from mlctl.serving.payloads.signature import TensorSpec

NUMBER_TYPES = frozenset({int, float})
# what a value that does not fit is told to be, and what to send instead
_KINDS = {
    "number": ("a number", "send numbers, without quotes"),
    "number or null": ("a number", "send numbers, without quotes, or null"),
    "truth": ("true or false", "send true or false, without quotes"),
    "text": ("a text", "send texts, in quotes"),
}
_TYPES: dict[str, frozenset[type]] = {
    "number": NUMBER_TYPES,
    "number or null": NUMBER_TYPES | {type(None)},
    "truth": frozenset({bool}),
    "text": frozenset({str}),
}

Array = np.ndarray[Any, Any]
Position = tuple[int, ...]


def refuse_other(value: Any, kind: str) -> None:
    """Raise RequestError for the first value that is not of this kind; return if all values are."""
    if (position := _find_other(value, kind)) is None:
        return
    for index in position:
        value = value[index]
    wanted, hint = _KINDS[kind]
    raise bad_request(f"{name_of(value)} at {path_of(position)} is not {wanted}", hint)


def _find_other(value: list[Any], kind: str) -> Position | None:
    """Return the position of the first value that is neither a list nor of this kind."""
    types = _TYPES[kind]
    if set(map(type, value)) <= types:
        return None
    for index, item in enumerate(value):
        if isinstance(item, list):
            if (inner := _find_other(item, kind)) is not None:
                return (index, *inner)
        elif type(item) not in types and not (kind == "truth" and type(item) is int and item in (0, 1)):
            return (index,)
    return None


def name_of(value: Any) -> str:
    """Return a value as a client wrote it, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value != value:
        return "NaN"
    return "null" if value is None else "a dictionary" if isinstance(value, dict) else quote(value)


def refuse_uneven(value: Any) -> None:
    """Raise RequestError for the first list whose length or depth differs from its first sibling's."""
    level: list[tuple[Position, Any]] = [((), value)]
    while level and all(isinstance(item, list) for _, item in level):
        length = len(level[0][1])
        for position, item in level:
            if len(item) != length:
                raise bad_request(
                    f"the list at {path_of(position)} has {len(item)} entries, but the first has {length}",
                    "every row must have the same length",
                )
        level = [((*position, index), inner) for position, item in level for index, inner in enumerate(item)]
    for position, item in level:
        if isinstance(item, list) != isinstance(level[0][1], list):
            raise bad_request(
                f"lists and values are mixed at {path_of(position)}", "every row must have the same depth"
            )


def refuse_not_finite(array: Array, *, takes_nan: bool) -> None:
    """Raise RequestError for infinity, and for NaN unless `takes_nan`."""
    if (is_infinite := np.isinf(array)).any():
        sign = "-" if array[is_infinite][0] < 0 else ""
        raise bad_request(
            f"the number {sign}Infinity at {first_true(is_infinite)} is too large", "send finite numbers"
        )
    if not takes_nan:
        raise bad_request(
            f"NaN at {first_true(np.isnan(array))} is not a number",
            "send finite numbers: the model takes no missing values",
        )


def check_pixel_scale(array: Array, full_scale: float) -> None:
    """Refuse images that were scaled to 0..1 for a model that scales them itself: a silent mistake otherwise."""
    if array.min() >= 0 and array.max() <= 1 and (array != np.floor(array)).any():
        raise bad_request(
            f"the pixels lie between 0 and 1, but this model takes pixels from 0 to {full_scale:g}",
            f"multiply them by {full_scale:g}: the model scales them itself",
        )


def first_true(mask: Array) -> str:
    """Return the position of the first true value."""
    return path_of([int(index) for index in np.argwhere(mask)[0]])


def short_number(number: Any) -> str:
    """Return a number with at most 40 digits."""
    return f"{number:g}" if isinstance(number, np.floating) else str(number)[:40]


def path_of(position: Sequence[int]) -> str:
    """Return a position in nested lists, such as [0][2]."""
    return "".join(f"[{index}]" for index in position) or "the top level"


def spec_hint(spec: TensorSpec) -> str:
    """Return the hint that says what to send."""
    return f"send {spec} as nested lists under {spec.name or 'inputs'}"
