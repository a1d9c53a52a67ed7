"""Cells of a text table: numbers where their form leaves no doubt, and texts as they are written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from mlctl.domain.numbers import EXACT_FLOATS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

PROBED = 1000  # cells that are tried before a whole column
# a number that may also be a whole number with points between thousands
_GROUPED = r"^[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+$"
_LEADING_ZERO = r"^[+-]?0[0-9xX]"  # Arrow takes 0x10 for 16
_TRUTHS = (("True", "False"), ("true", "false"), ("TRUE", "FALSE"))


def to_frame(
    columns: Sequence[pyarrow.ChunkedArray], names: Sequence[str], *, text_columns: Collection[str] = ()
) -> pd.DataFrame:
    """Return columns of texts as a DataFrame; the cells of `text_columns` stay texts."""
    import pandas as pd

    series = {}
    for name, column in zip(names, columns, strict=True):
        numbers = None if name in text_columns else _clear_numbers(column)
        if numbers is None:
            texts = strip(column) if _has_spaces(column) else column
            numbers = texts if name in text_columns else typed_column(texts)
        series[name] = _to_series(numbers)
    return pd.DataFrame(series)


def strip(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Return texts without spaces around them, null for empty ones."""
    import pyarrow
    from pyarrow import compute

    trimmed = compute.utf8_trim_whitespace(column)
    is_empty = compute.equal(compute.binary_length(trimmed), 0)
    return compute.if_else(is_empty, pyarrow.scalar(None, trimmed.type), trimmed)


def typed_column(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Return texts as int64, float64 or bool if all of them are plain numbers, or true and false; else the texts.

    These stay texts: numbers that may have points between thousands (1.234), whole numbers that begin with a zero
    (01067) or have more digits than a type can hold, words such as inf, and anything with a comma.
    """
    filled = column.drop_null() if column.null_count else column
    if not len(filled) or _numbers(filled[:PROBED]) is None:
        return _truths(column, filled)
    numbers = _clear_numbers(column)
    return column if numbers is None else numbers


def _clear_numbers(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray | None:
    """Return texts as numbers; None if one of them is none, or can be read in two ways."""
    if not len(column) or _numbers(column[:PROBED]) is None:
        return None
    numbers = _numbers(column)
    filled = column.drop_null() if column.null_count else column
    return numbers if numbers is not None and _is_clear(filled) else None


def _has_spaces(column: pyarrow.ChunkedArray) -> bool:
    """Whether a cell is empty, or has spaces around it."""
    from pyarrow import compute

    lengths = compute.binary_length(column)
    if compute.min(lengths).as_py() == 0:
        return True
    trimmed = compute.binary_length(compute.utf8_trim_whitespace(column))
    return bool(compute.sum(lengths).as_py() != compute.sum(trimmed).as_py())


def _numbers(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray | None:
    """Return texts as int64, or as float64 if some are no whole numbers or null; None if one is no number."""
    import pyarrow
    from pyarrow import compute

    try:
        numbers = column.cast(pyarrow.int64())
    except pyarrow.ArrowInvalid:
        pass
    else:
        return _exact_floats(numbers) if column.null_count else numbers
    try:
        numbers = column.cast(pyarrow.float64())
    except pyarrow.ArrowInvalid:
        return None
    if not compute.all(compute.is_finite(numbers)).as_py():  # a word such as inf
        return None
    limits = compute.min_max(numbers).as_py()
    if max(abs(limits["min"]), abs(limits["max"])) >= EXACT_FLOATS:
        digits = compute.match_substring_regex(column, r"^[+-]?[0-9]{16,}$")
        if compute.any(digits).as_py():
            return None
    return numbers


def _exact_floats(numbers: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray | None:
    import pyarrow
    from pyarrow import compute

    limits = compute.min_max(numbers).as_py()
    if max(abs(limits["min"]), abs(limits["max"])) >= EXACT_FLOATS:
        return None
    return numbers.cast(pyarrow.float64())


def _is_clear(texts: pyarrow.ChunkedArray) -> bool:
    """Whether numbers can be read in one way only."""
    from pyarrow import compute

    for part in (texts[:PROBED], texts):
        with_point = part.filter(compute.match_substring(part, "."))
        if len(with_point):
            is_grouped = compute.match_substring_regex(with_point, _GROUPED)
            if not compute.all(is_grouped).as_py():
                return True
            if len(part) == len(texts):
                return False
    # whole numbers
    starts = compute.starts_with(texts, "0")
    if not compute.any(starts).as_py():
        return True
    return not compute.any(compute.match_substring_regex(texts.filter(starts), _LEADING_ZERO)).as_py()


def _truths(column: pyarrow.ChunkedArray, filled: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    import pyarrow
    from pyarrow import compute

    for words in _TRUTHS:
        if len(filled) and filled[0].as_py() in words:
            values = pyarrow.array(words, filled.type)
            if compute.all(compute.is_in(filled, values)).as_py():
                return compute.equal(column, pyarrow.scalar(words[0], column.type))
    return column


def _to_series(column: pyarrow.ChunkedArray) -> pd.Series[Any]:
    """Return a column as pandas has it: texts as str with NaN, true and false with a gap as objects."""
    import pandas as pd
    import pyarrow

    if pyarrow.types.is_boolean(column.type) and column.null_count:
        return pd.Series(column.to_pylist(), dtype=object)
    if pyarrow.types.is_large_string(column.type):
        dtype = pd.Series([], dtype="str").dtype
        if hasattr(dtype, "__from_arrow__"):
            return pd.Series(dtype.__from_arrow__(column))
    series: pd.Series[Any] = column.to_pandas()
    return series
