"""Bags and their targets in a .npz file: a cache of prepared data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data.sources.npz import NpzReader
from mlctl.data.sparse_bags import SparseBags
from mlctl.errors import BadDataError
from mlctl.files import atomic_writer


def save_bags(path: Path, bags: SparseBags, targets: np.ndarray[Any, Any]) -> None:
    """Write bags and targets; raises OSError if this fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(path) as file:
        np.savez(file, ids=bags.ids, starts=bags.starts, width=np.array([bags.width]), targets=targets)


def load_bags(path: Path) -> tuple[SparseBags, np.ndarray[Any, Any]] | None:
    """Return what `save_bags` wrote; None if there is no file or it is damaged."""
    if not path.is_file():
        return None
    try:
        with NpzReader.open(path) as reader:
            width = int(reader.read_array("width", (1,), low=1)[0])
            starts = reader.read_array("starts", (None,), kinds="i", low=0)
            ids = reader.read_array("ids", (None,), kinds="u", high=width - 1)
            targets = reader.read_array("targets", (len(starts) - 1,))
    except BadDataError:
        return None
    if starts[0] != 0 or starts[-1] != len(ids) or (np.diff(starts) < 0).any():
        return None
    return SparseBags(ids, starts, width), targets
