"""Batches joined to one tree of arrays; sequences of different lengths are padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlctl.data.trees import Tree, map_tree

Array = np.ndarray[Any, Any]


def join_batches(batches: Sequence[Tree], fill: int = 0) -> Tree:
    """Return trees of batches as one tree; arrays whose rows differ in length between batches are padded with `fill`."""
    first, *others = batches
    return map_tree(lambda *parts: _join([np.asarray(part) for part in parts], fill), first, *others)


def _join(parts: Sequence[Array], fill: int) -> Array:
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) == 1 or len({len(shape) for shape in shapes}) > 1:
        return np.concatenate(parts)
    longest = [max(lengths) for lengths in zip(*shapes, strict=True)]
    dtype = np.result_type(*parts, *([np.int16] if fill < 0 else []))
    joined = np.full((sum(map(len, parts)), *longest), fill, dtype)
    row = 0
    for part in parts:
        joined[(slice(row, row + len(part)), *map(slice, part.shape[1:]))] = part
        row += len(part)
    return joined
