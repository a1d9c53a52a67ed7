"""Digests of arrays: each array is hashed once, however often a script trains on it."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlctl.data.content_digest import digest_value

PROBED_VALUES = 1024
MAX_WORK = 100_000  # steps to find out whether two arrays share memory
Array = np.ndarray[Any, Any]


@dataclass(kw_only=True)
class ArrayDigests:
    """Digests by array, with a sample of the values: an array that was changed in place is hashed again."""

    _known: dict[Any, tuple[Any, int, str]] = field(default_factory=dict)

    def digest(self, value: Any) -> str:
        """Return the digest of an array, table or sparse matrix."""
        key, owner = _identity(value)
        if key is None:
            return digest_value(value)
        probe = _probe(value)
        known = self._known.get(key)
        if known is not None and known[0]() is owner and known[1] == probe:
            return known[2]
        digest = digest_value(value)
        self._known = {name: entry for name, entry in self._known.items() if entry[0]() is not None}
        self._known[key] = (weakref.ref(owner), probe, digest)
        return digest


@dataclass(frozen=True)
class Region:
    """The memory of an array: the object that owns it, and where the elements are, as NumPy describes it."""

    owner: Any  # a weak reference
    __array_interface__: dict[str, Any]


def region(value: Any) -> Region | None:
    """Return the memory of an array; None for anything else."""
    if not isinstance(value, np.ndarray) or value.dtype.kind in "OV" or not value.nbytes:
        return None
    interface = dict(value.__array_interface__)
    interface.update(data=(interface["data"][0], True), strides=value.strides)
    return Region(weakref.ref(_owner(value)), interface)


def overlap(some: Iterable[Region], others: Iterable[Region]) -> bool:
    """Return whether two lists of regions have elements in common; False if that is too hard to find out."""
    others = list(others)
    return any(_share_memory(a, b) for a in some for b in others)


def _share_memory(some: Region, other: Region) -> bool:
    owner = some.owner()
    if owner is None or owner is not other.owner():
        return False
    try:  # nothing is read from these arrays: rows of columns in memory lie between each other without sharing any byte
        return np.shares_memory(np.asarray(some), np.asarray(other), max_work=MAX_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return False


def _owner(value: Array) -> Any:
    while isinstance(value.base, np.ndarray):
        value = value.base
    return value


def _identity(value: Any) -> tuple[Any, Any]:
    """Return a key of an object's memory, and the object that owns it; (None, None) if it cannot be watched."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "O":
            return None, None
        interface = value.__array_interface__
        return (interface["data"][0], value.shape, value.strides, value.dtype.str), _owner(value)
    try:
        weakref.ref(value)
    except TypeError:
        return None, None
    return (id(value), type(value).__name__), value


def _probe(value: Any) -> int:
    """Return a number that changes if an array's values change, most likely."""
    if not isinstance(value, np.ndarray):
        if not hasattr(value, "iloc"):
            return 0
        rows = np.linspace(0, max(0, len(value) - 1), num=min(len(value), 16), dtype=np.int64)
        return zlib.crc32(repr((value.shape, value.iloc[rows].to_numpy().tolist())).encode())
    if not value.size:
        return 0
    places = np.linspace(0, value.size - 1, num=min(value.size, PROBED_VALUES), dtype=np.int64)
    return zlib.crc32(np.ascontiguousarray(value.flat[places]).tobytes())
