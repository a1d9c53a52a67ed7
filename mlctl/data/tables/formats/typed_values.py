"""Columns of typed formats: values of any kind become numbers, true and false, times, or texts."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables.table_rows import unique_names

if TYPE_CHECKING:
    import pandas as pd

MAX_PARTS = 4096  # columns that a column of lists may become
_TIMES = (datetime.datetime, datetime.date)
_LISTS = (list, tuple, np.ndarray)


def typed_frame(columns: Sequence[tuple[str, pd.Series[Any]]]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return columns of values as a table, and notes about those that were renamed or taken apart.

    Lists of one length become a column for each place, objects a column for each key. Other lists become texts.
    """
    import pandas as pd

    notes: list[str] = []
    parts = [part for name, column in columns for part in _plain_columns(str(name), column, notes)]
    names, renamed = unique_names([name for name, _ in parts])
    frame = pd.DataFrame(
        dict(zip(names, (column.reset_index(drop=True) for _, column in parts), strict=True))
    )
    return frame, (*notes, *renamed)


def _plain_columns(
    name: str, column: pd.Series[Any], notes: list[str], depth: int = 0
) -> list[tuple[str, pd.Series[Any]]]:
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    kind = getattr(column.dtype, "kind", "O")
    if kind == "m":
        return [(name, column.dt.total_seconds())]
    if pd.api.types.is_bool_dtype(column.dtype) and not column.isna().any():
        return [(name, column.astype(bool))]
    if pd.api.types.is_bool_dtype(column.dtype):
        return [(name, column.astype(object).where(column.notna(), None))]
    if pd.api.types.is_numeric_dtype(column.dtype):
        if pd.api.types.is_extension_array_dtype(column.dtype):
            has_gaps = bool(column.isna().any())
            values = column.to_numpy(np.float64, na_value=np.nan) if has_gaps else column.to_numpy()
            column = pd.Series(values, column.index)
        return [(name, column)]
    if kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
        return [(name, column)]
    return _object_columns(name, column.astype(object), notes, depth)


def _object_columns(
    name: str, column: pd.Series[Any], notes: list[str], depth: int
) -> list[tuple[str, pd.Series[Any]]]:
    """Return a column of Python objects by what they are."""
    import pandas as pd

    is_list = column.map(lambda cell: isinstance(cell, _LISTS)).to_numpy(bool)
    filled = column[is_list | column.notna().to_numpy(bool)]
    if filled.empty:
        return [(name, pd.Series(np.nan, column.index, dtype=object))]
    if is_list.any() and is_list[column.index.get_indexer(filled.index)].all():
        return _list_columns(name, column, filled, notes)
    if filled.map(lambda cell: isinstance(cell, Mapping)).all() and depth < 3:
        keys = dict.fromkeys(key for cell in filled for key in cell)
        if len(keys) <= MAX_PARTS:
            found = []
            for key in keys:
                part = column.map(lambda cell, key=key: cell.get(key) if isinstance(cell, Mapping) else None)
                found += _plain_columns(f"{name}.{key}", part.astype(object), notes, depth + 1)
            return found
    if filled.map(lambda cell: isinstance(cell, (bool, np.bool_))).all():
        has_gaps = len(filled) < len(column)
        return [(name, column.where(column.notna(), None) if has_gaps else column.astype(bool))]
    if filled.map(_is_number).all():
        return [(name, _numbers(column, filled))]
    if filled.map(lambda cell: isinstance(cell, _TIMES)).all():
        return [(name, pd.to_datetime(column, errors="coerce"))]
    if filled.map(lambda cell: isinstance(cell, datetime.timedelta)).all():
        return [(name, pd.to_timedelta(column).dt.total_seconds())]
    texts = column.map(_text, na_action="ignore")
    return [(name, texts.where(texts.notna() & (texts != "")).astype("str"))]


def _is_number(cell: Any) -> bool:
    return isinstance(cell, (int, float, Decimal, np.number)) and not isinstance(cell, (bool, np.bool_))


def _numbers(column: pd.Series[Any], filled: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if len(filled) == len(column) and filled.map(lambda cell: isinstance(cell, (int, np.integer))).all():
        try:
            return column.astype(np.int64)
        except OverflowError:
            return column.map(str).astype("str")
    numbers = np.array(
        [np.nan if gap else float(cell) for cell, gap in zip(column, column.isna(), strict=True)]
    )
    return pd.Series(numbers, column.index)


def _list_columns(
    name: str, column: pd.Series[Any], filled: pd.Series[Any], notes: list[str]
) -> list[tuple[str, pd.Series[Any]]]:
    """Return a column of lists as a column for each place if all have the same length, else as texts."""
    import pandas as pd

    arrays = [np.array(_flat(cell), dtype=object) for cell in filled]
    length = len(arrays[0])
    is_even = 0 < length <= MAX_PARTS and all(len(array) == length for array in arrays)
    if is_even and all(_is_number(cell) or cell is None for array in arrays for cell in array):
        rows = np.full((len(column), length), np.nan)
        rows[column.index.get_indexer(filled.index)] = np.array(arrays).astype(np.float64)
        notes.append(f"column {name} holds lists of {length:,} numbers: columns {name}_1 to {name}_{length}")
        return [(f"{name}_{place + 1}", pd.Series(rows[:, place], column.index)) for place in range(length)]
    texts = column.map(lambda cell: ", ".join(map(_text, _flat(cell))) if isinstance(cell, _LISTS) else None)
    notes.append(f"column {name} holds lists: read as texts")
    return [(name, texts.where(texts.notna() & (texts != "")).astype("str"))]


def _flat(cell: Any) -> list[Any]:
    """Return the values of a list, also of one of lists."""
    if not isinstance(cell, _LISTS):
        return [cell]
    return [value for part in cell for value in _flat(part)]


def _text(cell: Any) -> str:
    """Return a value as a person writes it."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="replace").strip()
    if isinstance(cell, (bool, np.bool_)):
        return str(bool(cell)).lower()
    if isinstance(cell, (float, np.floating)):
        return f"{cell:.15g}"
    return str(cell).strip()
