"""Joining the rows of two splits, to train on training and validation rows together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlctl.data.dataset import Split
from mlctl.data.sparse_bags import SparseBags
from mlctl.data.trees import leaves, map_tree


def can_join(first: Split, second: Split) -> bool:
    """Return whether the rows of two splits can be joined: they are in memory, and have the same shape."""
    if first.is_stream or second.is_stream:
        return False  # the batches of two sources have sizes of their own
    pairs = [pair for parts in zip(first.parts, second.parts, strict=True) for pair in _pairs(*parts)]
    return not any(
        isinstance(one, np.memmap)  # it may be larger than memory
        or isinstance(other, np.memmap)
        or _row_shape(one) != _row_shape(other)
        for one, other in pairs
    )


def join(first: Split, second: Split) -> Split:
    """Return the rows of two splits; of rows with weights and rows without, the latter count as 1."""
    weights = None
    if first.weights is not None or second.weights is not None:
        weights = map_tree(_join, _weights_like(first, second), _weights_like(second, first))
    targets = None if first.targets is None else map_tree(_join, first.targets, second.targets)
    return Split(map_tree(_join, first.inputs, second.inputs), targets, weights)


def _pairs(first: Any, second: Any) -> list[tuple[Any, Any]]:
    """Return the leaves of two trees side by side; nothing if a split lacks this part."""
    return [] if first is None or second is None else list(zip(leaves(first), leaves(second), strict=True))


def _row_shape(leaf: Any) -> tuple[int, ...]:
    return leaf.shape[1:] if isinstance(leaf, np.ndarray) else ()


def _weights_like(split: Split, other: Split) -> Any:
    """Return a split's weights; ones in the form of the other's weights if it has none."""
    if split.weights is not None:
        return split.weights

    def ones(weights: Any) -> Any:
        return np.ones((len(split), *_row_shape(weights)), np.float32)

    return map_tree(ones, other.weights)


def _join(first: Any, second: Any) -> Any:
    if isinstance(first, SparseBags):
        return SparseBags.concatenate(first, second)
    if hasattr(first, "files"):  # images on disk
        return first.append(second)
    if isinstance(first, (pd.DataFrame, pd.Series)):
        return pd.concat([first, second], ignore_index=True)
    return np.concatenate((first, second))
