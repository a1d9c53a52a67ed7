"""Multi-hot rows in sparse form: 14 MB for the IMDB reviews instead of 6 GB as a dense matrix."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_IDS = 1 << 28


@dataclass(frozen=True)
class SparseBags:
    """The n rows of a 0/1 matrix with `width` columns.

    Row i has ones in the columns `ids[starts[i]:starts[i+1]]`, which are ascending and unique. `ids` is uint16 if
    the width fits, else uint32; `starts` is int64 (n+1,).
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
        """Shape of the dense matrix: (n, width)."""
        return len(self), self.width

    @property
    def lengths(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Number of ones in each row."""
        return np.diff(self.starts)

    def take(self, rows: np.ndarray[Any, Any]) -> SparseBags:
        """Return these rows, in this order."""
        rows = np.asarray(rows)
        lengths = self.lengths[rows]
        starts = np.concatenate(([0], np.cumsum(lengths)))
        # position in self.ids of each id of the result: the start of its row plus its offset in the row
        positions = np.arange(starts[-1]) + np.repeat(self.starts[:-1][rows] - starts[:-1], lengths)
        return SparseBags(self.ids[positions], starts, self.width)

    def dense(self, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
        """Return the dense (n, width) matrix; take a few rows first, because each needs `width` numbers."""
        matrix = np.zeros((len(self), self.width), dtype)
        matrix[np.repeat(np.arange(len(self)), self.lengths), self.ids] = 1
        return matrix

    def to_texts(self, words: Sequence[str]) -> list[str]:
        """Return a text for each row: the words of its columns, joined by spaces."""
        return [" ".join([words[column] for column in self[row]]) for row in range(len(self))]

    @classmethod
    def from_lists(cls, rows: Sequence[list[int]], width: int, base: int = 0) -> SparseBags:
        """Build bags from lists of column numbers that count from `base`; columns beyond `width` are dropped.

        Raises ValueError, which names the row, if something is not a number or is below `base`.
        """
        flat, lengths = _flatten(rows)
        if len(flat) and flat.min() < base:
            row = int(np.searchsorted(np.cumsum(lengths), int(flat.argmin()), side="right"))
            raise ValueError(f"{flat.min()} in row {row}")
        in_width = flat < width + base
        if not in_width.all():
            row_of = np.repeat(np.arange(len(rows)), lengths)
            flat, lengths = flat[in_width], np.bincount(row_of[in_width], minlength=len(rows))
        return cls.from_flat(flat - base, lengths, width)

    @classmethod
    def from_flat(
        cls, columns: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any], width: int
    ) -> SparseBags:
        """Build bags from the columns of all rows, `lengths[i]` of them for row i, in any order and with repeats."""
        # each (row, column) becomes one number, so that one sort does it all; 32 bits take half the time
        key_type: Any = np.uint32 if len(lengths) * width < 1 << 32 else np.uint64
        offsets = (np.arange(len(lengths) + 1) * width).astype(key_type)
        keys = np.repeat(offsets[:-1], lengths) + columns.astype(key_type)
        keys.sort()
        is_first = np.ones(len(keys), bool)
        np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
        keys = keys[is_first]
        starts = np.searchsorted(keys, offsets).astype(np.int64)
        ids = keys - np.repeat(offsets[:-1], np.diff(starts))
        return cls(ids.astype(np.uint16 if width <= 1 << 16 else np.uint32), starts, width)

    @classmethod
    def concatenate(cls, first: SparseBags, second: SparseBags) -> SparseBags:
        """Return the rows of both; they must have the same width."""
        starts = np.concatenate((first.starts, second.starts[1:] + first.starts[-1]))
        return cls(np.concatenate((first.ids, second.ids)), starts, first.width)


def _flatten(rows: Sequence[list[int]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    if lengths.sum() > MAX_IDS:  # a small pickle can refer to one long list many times
        raise ValueError(f"{lengths.sum():,} numbers in all")
    flat = array("i")
    for number, row in enumerate(rows):
        try:
            flat.fromlist(row)  # fast, and refuses floats, texts and numbers beyond 32 bits
        except (TypeError, OverflowError):
            raise ValueError(f"a value that is not an integer in row {number}") from None
    return np.frombuffer(flat, np.int32) if flat else np.zeros(0, np.int32), lengths
