"""A table's columns with their detected types, as a client sends them."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables import date_columns, number_columns
from mlctl.data.tables.column_draft import ColumnDraft
from mlctl.data.tables.column_types import DROP, NUMBER, ReadingOptions, TableColumn
from mlctl.data.tables.date_columns import DateFormat, detect_date_format
from mlctl.data.tables.number_columns import MIN_SHARE
from mlctl.domain import number_forms
from mlctl.domain.column_reading import as_text

if TYPE_CHECKING:
    import pandas as pd

FINGERPRINT_CELLS = 100
NO_DATES = (0, 99991231, 99999999)

Array = np.ndarray[Any, Any]


def convert_columns(
    frame: pd.DataFrame, types: Mapping[str, str], options: ReadingOptions | None = None
) -> tuple[pd.DataFrame, list[TableColumn]]:
    """Detect the type of each column and return the columns to use, as a client sends them.

    `types` holds the types that the user sets. Numbers become float64 with NaN, true and false and flags bool, all
    else becomes str with None.

    Raises UsageError for a name in `types` or `options` that is not a column, for an unknown type, and for a type
    that most cells of the column do not have.
    """
    import pandas as pd

    options = replace(options or ReadingOptions(), types={**(options.types if options else {}), **types})
    options.check([str(name) for name in frame])
    drafts = {str(name): ColumnDraft.of(str(name), frame[name], options) for name in frame}
    _read_numbers(drafts, options)
    _read_dates(drafts)
    _read_sentinels(drafts, options)
    converted: dict[str, Any] = {}
    columns, seen = [], _SeenColumns(frame)
    for name, draft in drafts.items():
        values, column = draft.finish()
        if column.type != DROP and not draft.is_set and (original := seen.same_as(name)):
            column = TableColumn(
                name=name, type=DROP, reason=f"the same as {original}", missing=column.missing
            )
        columns.append(column)
        if column.type != DROP:
            converted[name] = values
    return pd.DataFrame(converted, index=frame.index), columns


def _read_numbers(drafts: Mapping[str, ColumnDraft], options: ReadingOptions) -> None:
    """Read the numbers in columns of texts; the whole table decides on the sign before decimals."""
    looked = {
        name: draft.written.look()
        for name, draft in drafts.items()
        if draft.written is not None and (draft.written.may_be_numbers() or draft.set_type == NUMBER)
    }
    has_points = any(
        draft.is_number and number_columns.has_fractions(draft.values.to_numpy()) for draft in drafts.values()
    )
    decided = number_columns.decide_signs(looked, has_points=has_points)
    for name, (decimal, thousands, is_guess) in decided.items():
        draft = drafts[name]
        assert draft.written is not None
        draft.numbers = draft.written.read(decimal, thousands, is_ambiguous=is_guess)
    decimal = number_columns.table_decimal(decided)
    for draft in drafts.values():
        draft.decimal = decimal


def _read_dates(drafts: Mapping[str, ColumnDraft]) -> None:
    """Find the formats of dates; columns that leave the order of day and month open follow the others."""
    for draft in drafts.values():
        if draft.set_type is not None:
            continue
        if draft.is_number:
            draft.dates = _dates_of_numbers(draft.values.to_numpy())
        elif draft.written is not None:
            numbers = draft.numbers if draft.numbers and draft.numbers.is_number else None
            may_be_times = numbers is not None and number_forms.CLOCK in numbers.forms
            if numbers is not None and numbers.units and not may_be_times:
                continue
            found = detect_date_format(draft.date_cells(), MIN_SHARE)
            if numbers is None or may_be_times or date_columns.is_sure_of_numbers(found.format):
                draft.dates = found
    orders = Counter(
        order
        for draft in drafts.values()
        if not draft.dates.other and (order := date_columns.is_day_first(draft.dates.format)) is not None
    )
    has_commas = any(draft.decimal == "," for draft in drafts.values())
    day_first = orders[True] > orders[False] if orders else True if has_commas else None
    for draft in drafts.values():
        if draft.dates.other and day_first is not None:
            draft.dates = detect_date_format(draft.date_cells(), MIN_SHARE, day_first=day_first)


def _dates_of_numbers(values: Array) -> DateFormat:
    """Return the format of whole numbers that are all dates, such as 20190131."""
    if not len(values):
        return DateFormat()
    with np.errstate(invalid="ignore"):
        low, high = np.fmin.reduce(values), np.fmax.reduce(values)
        # 0 and 99999999 stand for no date
        if not ((low == 0 or low >= 19000101) and (high <= 21001231 or high in NO_DATES)):
            return DateFormat()
        filled = values[~np.isnan(values) & ~np.isin(values, NO_DATES)]
        if not len(filled):
            return DateFormat()
        low, high = filled.min(), filled.max()
        if not (low >= 19000101 and high <= 21001231):
            return DateFormat()
        months, days = filled // 100 % 100, filled % 100
        is_date = (filled % 1 == 0) & (months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)
    if not is_date.all() or low == high:
        return DateFormat()
    return DateFormat(format="%Y%m%d", share=1.0, example=as_text(float(filled[0])))


def _read_sentinels(drafts: Mapping[str, ColumnDraft], options: ReadingOptions) -> None:
    """Find the numbers that stand for a missing value."""
    numbers = {
        name: array
        for name, draft in drafts.items()
        if (array := _numbers_of(draft)) is not None and name not in options.sentinels
    }
    found = number_columns.find_sentinels(numbers) if options.finds_sentinels else {}
    set_by_user = {name: () if value is None else (value,) for name, value in options.sentinels.items()}
    for name, values in {**found, **set_by_user}.items():
        draft = drafts[name]
        if draft.set_type in (None, NUMBER):
            draft.sentinels = values


def _numbers_of(draft: ColumnDraft) -> Array | None:
    if draft.set_type not in (None, NUMBER) or draft.dates.format:
        return None
    if draft.is_number:
        array: Array = draft.values.to_numpy()
        return array
    if draft.numbers is not None and draft.numbers.is_number:
        return draft.numbers.values
    return None


class _SeenColumns:
    """Columns that are kept, to find those with the same cells."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._names: dict[Any, list[str]] = {}

    def same_as(self, name: str) -> str:
        """Return the name of a kept column with the same cells, or ""; then this one is kept, too."""
        values = self._frame[name]
        names = self._names.setdefault(_fingerprint(values), [])
        same = next((other for other in names if values.equals(self._frame[other])), "")
        if not same:
            names.append(name)
        return same


def _fingerprint(values: pd.Series[Any]) -> Any:
    """Return what two columns with the same cells have in common, and few others."""
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iufb":
        return str(values.dtype), zlib.crc32(np.ascontiguousarray(values.to_numpy()).data)
    step = max(1, len(values) // FINGERPRINT_CELLS)
    return str(values.dtype), tuple(map(str, values.iloc[::step]))
