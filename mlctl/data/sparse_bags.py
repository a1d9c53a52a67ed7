"""Multi-hot rows kept as the numbers of their ones: 14 MB where the dense matrix would take 6 GB."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data.sources.npz import Archive
from mlctl.errors import BadDataError

MAX_IDS = 1 << 28


@dataclass(frozen=True)
class SparseBags:
    """n rows of a 0/1 matrix that is `width` wide.

    Row i has its ones in the columns `ids[starts[i]:starts[i+1]]`, ascending, each once. `ids` is uint16
    where the width allows it and uint32 otherwise, `starts` int64 (n+1,).
    """

    ids: np.ndarray[Any, Any]
    starts: np.ndarray[Any, np.dtype[np.int64]]
    width: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray[Any, Any]:
        """Return the columns of one row's ones."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.ids[self.starts[row] : self.starts[row + 1]]

    @property
    def shape(self) -> tuple[int, int]:
        """What `dense` returns: (n, width)."""
        return len(self), self.width

    @property
    def lengths(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """How many ones each row has."""
        return np.diff(self.starts)

    def take(self, rows: np.ndarray[Any, Any]) -> SparseBags:
        """Return these rows, in this order."""
        rows = np.asarray(rows)
        lengths = self.lengths[rows]
        starts = np.concatenate(([0], np.cumsum(lengths)))
        # where each id of the result stands in self.ids: its row's start plus its place in the row
        places = np.arange(starts[-1]) + np.repeat(self.starts[:-1][rows] - starts[:-1], lengths)
        return SparseBags(self.ids[places], starts, self.width)

    def dense(self, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
        """Return the (n, width) matrix; for few rows, since each takes `width` numbers."""
        matrix = np.zeros((len(self), self.width), dtype)
        matrix[np.repeat(np.arange(len(self)), self.lengths), self.ids] = 1
        return matrix

    @classmethod
    def from_lists(cls, rows: Sequence[list[int]], width: int, base: int = 0) -> SparseBags:
        """Make bags of lists of numbers that count from `base`; what is `width` or more beyond it is dropped.

        Raises ValueError that names the row where something is no number, or is below `base`.
        """
        flat, lengths = _flattened(rows)
        if len(flat) and flat.min() < base:
            row = int(np.searchsorted(np.cumsum(lengths), int(flat.argmin()), side="right"))
            raise ValueError(f"{flat.min()} in row {row}")
        kept = flat < width + base
        if not kept.all():
            of_row = np.repeat(np.arange(len(rows)), lengths)
            flat, lengths = flat[kept], np.bincount(of_row[kept], minlength=len(rows))
        return cls.from_flat(flat - base, lengths, width)

    @classmethod
    def from_flat(
        cls, columns: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any], width: int
    ) -> SparseBags:
        """Make bags of columns below `width` in any order, repeats too: `lengths[i]` of them for row i."""
        # one sort of (row, column) as single numbers does it all; of 32 bits it takes half the time
        key: Any = np.uint32 if len(lengths) * width < 1 << 32 else np.uint64
        offsets = (np.arange(len(lengths) + 1) * width).astype(key)
        keys = np.repeat(offsets[:-1], lengths) + columns.astype(key)
        keys.sort()
        fresh = np.ones(len(keys), bool)
        np.not_equal(keys[1:], keys[:-1], out=fresh[1:])
        keys = keys[fresh]
        starts = np.searchsorted(keys, offsets).astype(np.int64)
        ids = keys - np.repeat(offsets[:-1], np.diff(starts))
        return cls(ids.astype(np.uint16 if width <= 1 << 16 else np.uint32), starts, width)

    @classmethod
    def concatenate(cls, first: SparseBags, second: SparseBags) -> SparseBags:
        """Return the rows of both, which are equally wide."""
        starts = np.concatenate((first.starts, second.starts[1:] + first.starts[-1]))
        return cls(np.concatenate((first.ids, second.ids)), starts, first.width)


def _flattened(rows: Sequence[list[int]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    if lengths.sum() > MAX_IDS:  # a small pickle can name one long list many times
        raise ValueError(f"{lengths.sum():,} numbers in all")
    flat = array("i")
    for number, row in enumerate(rows):
        try:
            flat.fromlist(row)  # strict and quick: no floats, no words, nothing beyond 32 bits
        except (TypeError, OverflowError):
            raise ValueError(f"something that is no word's number in row {number}") from None
    return np.frombuffer(flat, np.int32) if flat else np.zeros(0, np.int32), lengths


def save(path: Path, bags: SparseBags, targets: np.ndarray[Any, Any]) -> None:
    """Write bags and targets as a plain .npz, whole or not at all; raises OSError where that cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, ids=bags.ids, starts=bags.starts, width=np.array([bags.width]), targets=targets)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load(path: Path) -> tuple[SparseBags, np.ndarray[Any, Any]] | None:
    """Return what `save` wrote, or None where there is none or it is not whole."""
    if not path.is_file():
        return None
    try:
        with Archive.open(path) as archive:
            width = int(archive.array("width", (1,), low=1)[0])
            starts = archive.array("starts", (None,), "i", low=0)
            ids = archive.array("ids", (None,), "u", high=width - 1)
            targets = archive.array("targets", (len(starts) - 1,))
    except BadDataError:
        return None
    if starts[0] != 0 or starts[-1] != len(ids) or (np.diff(starts) < 0).any():
        return None
    return SparseBags(ids, starts, width), targets
