"""The cells of an Arrow column as a client would send them: numbers as an array, all else as Python values."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables import convert_cells
from mlctl.data.tables.arrow_arrays import text_array, to_numpy
from mlctl.domain.missing_values import MISSING_WORDS
from mlctl.domain.numbers import EXACT_FLOATS, parse_number
from mlctl.domain.truths import CELL_TRUTHS

if TYPE_CHECKING:
    import pyarrow

NUMBERS = ("double", "float", "long", "integer")
EMPTY = frozenset({""})

Array = np.ndarray[Any, Any]
Cells = Array | list[Any]


def to_cells(column: pyarrow.Array, kind: str, *, required: bool, from_text: bool) -> Cells:
    """Return a column with the type `kind` of MLflow's signatures, None or NaN for missing values.

    The conversion is that of `convert_cells.cast_to_signature`: cells are stripped, and numbers may have a currency or
    percent sign. In a column of numbers, a word becomes a missing value if the signature allows one; if the column is
    `required`, the word stays, so that the check of the input can report its row.

    Args:
        column: The column.
        kind: Its type in the model's signature.
        required: Missing values are not allowed.
        from_text: The cells of a text table, in which some words stand for a missing value.
    """
    import pyarrow.types as types

    arrow_type = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_string(arrow_type) or types.is_large_string(arrow_type):
        words = MISSING_WORDS if from_text else EMPTY
        if kind == "string":
            return _convert_words(column, lambda word: None if word in words else word)
        if kind == "boolean":
            return _convert_words(column, lambda word: None if word in words else _truth(word))
        return _numbers_of_texts(column, kind, words, required=required)
    if kind in NUMBERS and types.is_floating(arrow_type):
        numbers = to_numpy(column)
        return numbers if np.isfinite(numbers).all() else np.where(np.isfinite(numbers), numbers, np.nan)
    if kind in NUMBERS and types.is_integer(arrow_type):
        return _whole_column(column)
    if kind == "boolean" and types.is_boolean(arrow_type):
        return _whole_column(column)
    values = convert_cells.cast_to_signature(column.to_pandas(), kind, required=required)
    return [None if gap else value for value, gap in zip(values.tolist(), values.isna(), strict=True)]


def _whole_column(column: pyarrow.Array) -> Cells:
    """Return a column of whole numbers or of true and false."""
    cells: Cells = column.to_pylist() if column.null_count else to_numpy(column)
    return cells


def _truth(word: str) -> bool | str:
    if (truth := CELL_TRUTHS.get(word.lower())) is not None:
        return truth
    number = parse_number(word)
    return word if number not in (0, 1) else bool(number)  # the check of the input reports a word


def _convert_words(column: pyarrow.Array, convert: Callable[[str], Any]) -> Array:
    """Return the stripped words of a column converted, each different one once; None for a missing value."""
    encoded = column if hasattr(column, "dictionary") else column.dictionary_encode()
    words = [None if word is None else convert(word.strip()) for word in encoded.dictionary.to_pylist()]
    values = np.empty(len(words) + 1, object)
    values[:-1] = words
    converted: Array = values[to_numpy(encoded.indices, fill=len(words))]
    return converted


def _numbers_of_texts(column: pyarrow.Array, kind: str, words: Collection[str], *, required: bool) -> Cells:
    import pyarrow
    from pyarrow import compute

    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    numbers = _cast(column)
    if numbers is None:
        trimmed = compute.utf8_trim_whitespace(column)
        is_missing = compute.is_in(trimmed, text_array(sorted(words)).cast(trimmed.type))
        column = compute.if_else(is_missing, pyarrow.nulls(1, trimmed.type)[0], trimmed)
        numbers = _cast(column)
    # Arrow takes words such as inf, and floats do not have all digits of large whole numbers
    if numbers is not None and _count_finite(numbers) == len(column) - column.null_count:
        are_exact = kind not in ("long", "integer") or not (np.abs(numbers) >= EXACT_FLOATS).any()
        if are_exact:
            return numbers
    cells: list[Any] = _convert_words(column, lambda word: _number(word, words, required=required)).tolist()
    return cells


def _count_finite(numbers: Array) -> int:
    return int(np.count_nonzero(np.isfinite(numbers)))


def _cast(texts: pyarrow.Array) -> Array | None:
    """Return texts as float64, NaN for null; None if one is no number to Arrow."""
    import pyarrow

    try:
        numbers = to_numpy(texts.cast(pyarrow.float64()))
    except pyarrow.ArrowInvalid:
        return None
    return numbers


def _number(word: str, words: Collection[str], *, required: bool) -> Any:
    if word in words:
        return None
    number = parse_number(word, decorated=True)
    return word if number is None and required else number
