"""Batches for `Model.fit` in a worker process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from mlctl.data.files.images import ImageFiles

Array = np.ndarray[Any, Any]


class WorkerBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """A worker's share of some batches."""

    def __init__(self, parts: Any, rows: Sequence[Array], share: tuple[int, int]) -> None:
        """Take the encoded data, the rows of each batch, and which worker of how many this is."""
        super().__init__()
        self._parts, self._rows, self._share = parts, rows, share

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        """Return a batch in the form that Keras's `train_step` takes."""
        rank, workers = self._share
        size = len(self._rows[index]) // workers
        rows = self._rows[index][rank * size : (rank + 1) * size]
        return keras.utils.pack_x_y_sample_weight(*take_batch(self._parts, rows))


def take_batch(parts: Any, rows: Array) -> list[Any]:
    """Return these rows of inputs, targets and weights as arrays; images on disk are read."""

    def take(leaf: Any) -> Any:
        return leaf.take(rows).dense() if isinstance(leaf, ImageFiles) else leaf[rows]

    return [None if part is None else keras.tree.map_structure(take, part) for part in parts]
