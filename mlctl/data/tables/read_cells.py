"""The cells of a file's column, read as training read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables.arrow_arrays import to_numpy
from mlctl.domain.column_reading import BOOLEAN, CATEGORY, DATE, NUMBER, ColumnReading, write_time
from mlctl.serving.scoring import FALSE_WORDS, TRUE_WORDS, DateParser

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class ReadColumn:
    """Cells that were read.

    Attributes:
        values: The values: float64 with NaN for numbers, else objects with None.
        is_unread: Which cells hold something else than a value of this kind or a word for a missing one; None: none.
        is_new: Which cells hold a category that training did not have; None: none.
        cells: The cells, to show those.
    """

    values: Array
    is_unread: Array | None = None
    is_new: Array | None = None
    cells: Any = None


def read_series(values: pd.Series[Any], reading: ColumnReading) -> ReadColumn:
    """Return a column of a DataFrame, read as in training."""
    import pandas as pd

    kind = getattr(values.dtype, "kind", "O")
    if reading.kind == NUMBER and kind in "iuf" and isinstance(values.dtype, np.dtype):
        return ReadColumn(values=_without_sentinels(values.to_numpy(np.float64), reading))
    if kind == "M" or isinstance(values.dtype, pd.DatetimeTZDtype):
        format = reading.date_format if reading.kind == DATE else ""
        values = values.map(lambda time: write_time(time, format), na_action="ignore")
    cells_of_rows = values.astype(object)
    if values.dtype == object and any(isinstance(cell, (list, tuple, np.ndarray)) for cell in cells_of_rows):
        cells_of_rows = cells_of_rows.map(
            lambda cell: " ".join(map(str, cell)) if isinstance(cell, (list, tuple, np.ndarray)) else cell
        )
    codes, cells = pd.factorize(cells_of_rows)
    return _read_different(codes, list(cells), reading)


def read_arrow(column: pyarrow.Array, reading: ColumnReading) -> ReadColumn:
    """Return an Arrow column, read as in training."""
    import pyarrow
    from pyarrow import types

    is_dictionary = types.is_dictionary(column.type)
    arrow_type = column.type.value_type if is_dictionary else column.type
    if reading.kind == NUMBER and (types.is_floating(arrow_type) or types.is_integer(arrow_type)):
        if is_dictionary:
            column = column.dictionary_decode()
        return ReadColumn(values=_without_sentinels(to_numpy(column.cast(pyarrow.float64())), reading))
    if not (types.is_string(arrow_type) or types.is_large_string(arrow_type)):
        return read_series(column.to_pandas(), reading)
    if reading.kind == NUMBER and reading.decimal == "." and not is_dictionary:
        numbers = _cast(column)
        if numbers is not None:
            return ReadColumn(values=_without_sentinels(numbers, reading))
    encoded = column if is_dictionary else column.dictionary_encode()
    words = encoded.dictionary.to_pylist()
    codes = to_numpy(encoded.indices, fill=len(words))
    return _read_different(codes, words, reading)


def _read_different(codes: Array, cells: Sequence[Any], reading: ColumnReading) -> ReadColumn:
    """Read each different cell once; a code that is no place of `cells` stands for a missing one."""
    read = _reader_of(reading)
    values = [read(cell) for cell in cells]
    is_unread = np.array(
        [value is None and not reading.is_gap(cell) for value, cell in zip(values, cells, strict=True)]
        + [False]
    )
    is_new = np.zeros(len(cells) + 1, bool)
    if reading.kind == CATEGORY and reading.categories:
        known = _known(reading)
        is_new[:-1] = [value is not None and value not in known for value in values]
    by_cell = reading.to_array([*values, reading.read_cell(None)])
    codes = np.where((codes < 0) | (codes >= len(cells)), len(cells), codes).astype(np.int64)
    shown = [*cells, None]
    return ReadColumn(
        values=by_cell[codes],
        is_unread=is_unread[codes] if is_unread.any() else None,
        is_new=is_new[codes] if is_new.any() else None,
        cells=_Coded(codes, shown) if is_unread.any() or is_new.any() else None,
    )


@dataclass(frozen=True)
class _Coded:
    """Cells by row."""

    codes: Array
    cells: Sequence[Any]

    def __getitem__(self, row: int) -> Any:
        return self.cells[self.codes[row]]


def _reader_of(reading: ColumnReading) -> Any:
    if reading.kind == BOOLEAN and not reading.is_flag:
        return lambda cell: _truth_word(reading.read_cell(cell))
    if reading.kind != DATE:
        return reading.read_cell
    parser = _parser(reading.date_format)

    def read(cell: Any) -> str | None:
        text = reading.read_cell(cell)
        return text if text is not None and parser(text) is not None else None

    return read


def _truth_word(word: Any) -> Any:
    return word if isinstance(word, str) and word.lower() in TRUE_WORDS | FALSE_WORDS else None


@lru_cache(maxsize=64)
def _parser(format: str) -> DateParser:
    return DateParser(format)


@lru_cache(maxsize=256)
def _known_categories(categories: tuple[str, ...]) -> frozenset[str]:
    return frozenset(categories)


def _known(reading: ColumnReading) -> frozenset[str]:
    return _known_categories(reading.categories)


def _without_sentinels(numbers: Array, reading: ColumnReading) -> Array:
    """Return numbers with NaN for those that stand for a missing value, and for infinite ones."""
    is_missing = np.isinf(numbers)
    for sentinel in reading.sentinels:
        is_missing |= numbers == sentinel
    return np.where(is_missing, np.nan, numbers) if is_missing.any() else numbers


def _cast(texts: pyarrow.Array) -> Array | None:
    """Return texts as float64, NaN for null; None if one of them is no plain number."""
    import pyarrow
    from pyarrow import compute

    if (numbers := _cast_plain(texts)) is not None:
        return numbers
    trimmed = compute.utf8_trim_whitespace(texts)
    is_empty = compute.equal(compute.binary_length(trimmed), 0)
    trimmed = compute.if_else(is_empty, pyarrow.nulls(1, trimmed.type)[0], trimmed)
    return _cast_plain(trimmed)


def _cast_plain(texts: pyarrow.Array) -> Array | None:
    import pyarrow

    try:
        numbers = to_numpy(texts.cast(pyarrow.float64()))
    except pyarrow.ArrowInvalid:
        return None
    # Arrow takes words such as inf
    return numbers if int(np.count_nonzero(np.isfinite(numbers))) == len(texts) - texts.null_count else None
