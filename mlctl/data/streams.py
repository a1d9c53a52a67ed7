"""Batches that are made as needed: a `tf.data.Dataset`, a `keras.utils.PyDataset`, or indexable batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlctl.data.trees import Tree

Batch = tuple[Tree, Tree, Any]  # inputs, targets and weights; targets and weights may be None


class Stream:
    """Batches of a split.

    Attributes:
        source: The object that the recipe's `load` returned.
        is_indexed: Whether batches can be read in any order, so that a resumed training is exact.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self.is_indexed = hasattr(source, "__getitem__") and hasattr(source, "__len__")
        self._rows: int | None = None

    @staticmethod
    def is_stream(value: Any) -> bool:
        """Return whether a recipe's split is a stream of batches."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Return the number of rows; reads every batch if nothing else tells it."""
        raise NotImplementedError

    @property
    def steps(self) -> int | None:
        """Number of batches; None if it is unknown."""
        raise NotImplementedError

    def batches(self, order: np.ndarray[Any, Any] | None = None) -> Iterator[Batch]:
        """Yield batches as arrays, in this order of batch numbers if batches are indexed."""
        raise NotImplementedError

    def head(self, rows: int) -> Batch:
        """Return the first rows as arrays."""
        raise NotImplementedError
