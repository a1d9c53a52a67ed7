"""Sparse rows: 14 MB for the IMDB reviews as multi-hot rows instead of 6 GB as a dense matrix."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_IDS = 1 << 28


@dataclass(frozen=True)
class SparseBags:
    """The n rows of a matrix with `width` columns, most of whose values are 0.

    Row i has values in the columns `ids[starts[i]:starts[i+1]]`, which are ascending and unique. `ids` is uint16 if
    the width fits, else uint32; `starts` is int64 (n+1,). All values are 1, unless `values` has them: float32, one
    for each of `ids`. `sources` holds, if it is known, what each row was made from: an object array (n,).
    """

    ids: np.ndarray[Any, Any]
    starts: np.ndarray[Any, np.dtype[np.int64]]
    width: int
    values: np.ndarray[Any, np.dtype[np.float32]] | None = None
    sources: np.ndarray[Any, Any] | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray[Any, Any]:
        """Return the columns of one row's values."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.ids[self.starts[row] : self.starts[row + 1]]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the dense matrix: (n, width)."""
        return len(self), self.width

    @property
    def lengths(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Number of values other than 0 in each row."""
        return np.diff(self.starts)

    def take(self, rows: np.ndarray[Any, Any]) -> SparseBags:
        """Return these rows, in this order."""
        rows = np.asarray(rows)
        lengths = self.lengths[rows]
        starts = np.concatenate(([0], np.cumsum(lengths)))
        # position in self.ids of each id of the result: the start of its row plus its offset in the row
        positions = np.arange(starts[-1]) + np.repeat(self.starts[:-1][rows] - starts[:-1], lengths)
        values = None if self.values is None else self.values[positions]
        sources = None if self.sources is None else self.sources[rows]
        return SparseBags(self.ids[positions], starts, self.width, values, sources)

    def dense(self, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
        """Return the dense (n, width) matrix; take a few rows first, because each needs `width` numbers."""
        matrix = np.zeros((len(self), self.width), dtype)
        ones_or_values = 1 if self.values is None else self.values
        matrix[np.repeat(np.arange(len(self)), self.lengths), self.ids] = ones_or_values
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
        """Return the rows of both; they must have the same width, and both have values or neither."""
        starts = np.concatenate((first.starts, second.starts[1:] + first.starts[-1]))
        return cls(
            np.concatenate((first.ids, second.ids)),
            starts,
            first.width,
            _joined(first.values, second.values),
            _joined(first.sources, second.sources),
        )


def _joined(first: Any, second: Any) -> Any:
    return None if first is None or second is None else np.concatenate((first, second))


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
