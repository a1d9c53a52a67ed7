"""Turn the cells of one column into an array of its type, or say which cell is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from mlctl.domain.numbers import EXACT_FLOATS
from mlctl.serving.payloads.request_error import bad_request, quote
from mlctl.serving.payloads.signature import ColumnSpec

Array = np.ndarray[Any, Any]
Cells = Sequence[Any] | Array

STORAGE = {"double": np.float64, "float": np.float32, "long": np.int64, "integer": np.int32}
_KIND_NAMES = {
    "string": "a text",
    "boolean": "true or false",
    "long": "a whole number",
    "integer": "a whole number",
    "double": "a number",
    "float": "a number",
}
NO_GAPS_IN_TRAINING = "this column had no gaps in training"
_NUMBERS = frozenset({int, float})
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


class InexactNumber(Exception):
    """A whole number may have lost digits when its JSON was read; it must be read again, exactly."""


def gaps(rows: int, kind: str) -> Array:
    """Return a column without any value."""
    if kind in ("double", "float"):
        return np.full(rows, np.nan, STORAGE[kind])
    return np.full(rows, np.nan) if kind in STORAGE else np.full(rows, None)


def first_gap(column: Array) -> int | None:
    """Return the row of a checked column's first missing value, or None."""
    if column.dtype.kind not in "fO":
        return None
    is_gap = np.isnan(column) if column.dtype.kind == "f" else column == np.array(None)
    return int(is_gap.argmax()) if is_gap.any() else None


def check_cells(
    cells: Cells,
    column: ColumnSpec,
    *,
    takes_gaps: bool = True,
    gap_hint: str = NO_GAPS_IN_TRAINING,
    is_exact: bool = True,
    first_row: int = 0,
) -> Array:
    """Return a column's cells as an array of its type.

    - double: float64, float: float32, with NaN for a missing value
    - long: int64, integer: int32; with missing values float64 with NaN, or, if a number is too large for that, objects
      with None
    - boolean: bool; with missing values objects with None
    - string: objects with None for a missing value

    Args:
        cells: Python values, or an array of a file.
        column: Name and type of the column.
        takes_gaps: Values may be missing.
        gap_hint: What to say of a missing value if none may be missing.
        is_exact: Large whole numbers have all their digits. If not, InexactNumber is raised for them.
        first_row: Number of the first row, for messages.

    Raises:
        RequestError: A value does not fit.
    """
    if (
        len(cells) == 1
        and column.kind == "double"
        and type(cell := cells[0]) is float
        and math.isfinite(cell)
    ):
        return np.array(cells)
    check = _Check(column, takes_gaps=takes_gaps, gap_hint=gap_hint, is_exact=is_exact, first_row=first_row)
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "biuf":
        return check.array(cells)
    cells = cells.tolist() if isinstance(cells, np.ndarray) else cells
    if column.kind in ("double", "float"):
        return check.floats(cells)
    if column.kind == "string":
        return check.texts(cells)
    return check.truths(cells) if column.kind == "boolean" else check.integers(cells)


class _Check:
    """The check of one column. Its methods raise RequestError for the first wrong cell."""

    def __init__(
        self, column: ColumnSpec, *, takes_gaps: bool, gap_hint: str, is_exact: bool, first_row: int
    ) -> None:
        self._column = column
        self._kind = column.kind
        self._takes_gaps = takes_gaps
        self._gap_hint = gap_hint
        self._is_exact = is_exact
        self._first_row = first_row

    def floats(self, cells: Sequence[Any]) -> Array:
        types = set(map(type, cells))
        if not types <= _NUMBERS:
            self._check_types(cells, _NUMBERS)
        try:
            numbers = np.array(cells, np.float64)
        except OverflowError:
            self._refuse_large(cells)
        return self._as_floats(numbers, has_gaps=not types <= _NUMBERS)

    def _as_floats(self, numbers: Array, *, has_gaps: bool = False) -> Array:
        """Return numbers in the column's type; raise RequestError for infinity and unwanted gaps."""
        if len(numbers) == 1:
            number = float(numbers[0])
            is_finite = math.isfinite(number) and (self._kind == "double" or abs(number) <= _MAX_FLOAT32)
        else:
            is_finite = bool(np.isfinite(numbers).all())
        if not is_finite or has_gaps:
            if (is_infinite := np.isinf(numbers)).any():
                self._refuse_large(numbers)
            if not self._takes_gaps and (is_gap := np.isnan(numbers)).any():
                self._refuse_gap(int(is_gap.argmax()))
        if self._kind == "double":
            return np.asarray(numbers, np.float64)
        with np.errstate(over="ignore"):  # infinity is refused below
            result = numbers.astype(np.float32)
        if (is_infinite := np.isinf(result)).any():
            row = int(is_infinite.argmax())
            raise bad_request(
                f"{float(numbers[row])!r} in {self._cell(row)} is too large for a float: it is outside"
                f" ±{_MAX_FLOAT32:.8g}"
            )
        return result

    def texts(self, cells: Sequence[Any]) -> Array:
        if not set(map(type, cells)) <= {str}:
            self._check_types(cells, {str})
            cells = [cell if isinstance(cell, str) else None for cell in cells]
        return np.array(cells, object)

    def truths(self, cells: Sequence[Any]) -> Array:
        if set(map(type, cells)) <= {bool}:
            return np.array(cells, bool)
        self._check_types(cells, {bool, int, float})
        truths: list[bool | None] = []
        for row, cell in enumerate(cells):
            if cell is not None and cell == cell and cell not in (0, 1):
                self._refuse(cell, row)
            truths.append(None if cell is None or cell != cell else bool(cell))
        return np.array(truths, object if None in truths else bool)

    def integers(self, cells: Sequence[Any]) -> Array:
        types = set(map(type, cells))
        if types == {int}:
            try:
                return self._in_range(np.array(cells, np.int64))
            except OverflowError:
                self._refuse_outside(cells)
        self._check_types(cells, _NUMBERS)
        values = [self._whole(cell, row) for row, cell in enumerate(cells)]
        filled = [value for value in values if value is not None]
        if not all(self._limits.min <= value <= self._limits.max for value in filled):
            self._refuse_outside(values)
        if len(filled) == len(values):
            return np.array(values, STORAGE[self._kind])
        is_float_exact = all(-EXACT_FLOATS <= value <= EXACT_FLOATS for value in filled)
        return np.array(values, np.float64 if is_float_exact else object)

    def array(self, array: Array) -> Array:
        """Check an array of numbers, or of true and false."""
        kind = array.dtype.kind
        if self._kind == "boolean":
            return array if kind == "b" else self.truths(array.tolist())
        if kind == "b" or self._kind == "string":
            self._refuse(array[0].item(), 0)
        if self._kind in ("double", "float"):
            return self._as_floats(array, has_gaps=kind == "f")
        if kind in "iu":
            return self._in_range(array)
        if np.isnan(array).any() or not (np.abs(array) < EXACT_FLOATS).all() or (array % 1 != 0).any():
            return self.integers(array.tolist())
        return self._in_range(array.astype(np.int64))

    @property
    def _limits(self) -> np.iinfo[Any]:
        return np.iinfo(STORAGE[self._kind])

    def _in_range(self, array: Array) -> Array:
        """Return whole numbers in the column's type."""
        storage = np.dtype(STORAGE[self._kind])
        if array.dtype == storage or (array.dtype.kind == "i" and array.dtype.itemsize <= storage.itemsize):
            return array.astype(storage, copy=False)
        if len(array) and (array.min() < self._limits.min or array.max() > self._limits.max):
            self._refuse_outside(array.tolist())
        return array.astype(storage)

    def _whole(self, cell: Any, row: int) -> int | None:
        if cell is None or cell != cell:
            return None
        if isinstance(cell, float):
            if math.isinf(cell):
                self._refuse_large([cell], row)
            if cell != int(cell):
                self._refuse(cell, row)
            if abs(cell) >= EXACT_FLOATS:
                if not self._is_exact:
                    raise InexactNumber
                if not self._limits.min <= cell <= self._limits.max:
                    self._refuse_outside([int(cell)], row)
                raise bad_request(
                    f"{cell!r} in {self._cell(row)} is too large to be exact", "send it as a whole number"
                )
        return int(cell)

    def _check_types(self, cells: Sequence[Any], allowed: set[type] | frozenset[type]) -> None:
        """Raise RequestError for the first cell of another type, or for an unwanted gap."""
        for row, cell in enumerate(cells):
            if cell is None or (isinstance(cell, float) and cell != cell):
                if not self._takes_gaps:
                    self._refuse_gap(row)
            elif type(cell) not in allowed:
                self._refuse(cell, row)

    def _refuse(self, cell: Any, row: int) -> NoReturn:
        hint = "send it without quotes" if isinstance(cell, str) and self._is_quoted_number(cell) else ""
        raise bad_request(f"{quote(cell)} in {self._cell(row)} is not {_KIND_NAMES[self._kind]}", hint)

    def _is_quoted_number(self, cell: str) -> bool:
        """Whether a text holds a number, for a column of numbers."""
        try:
            return self._kind in STORAGE and math.isfinite(float(cell))
        except ValueError:
            return False

    def _refuse_gap(self, row: int) -> NoReturn:
        raise bad_request(
            f"null in {self._cell(row)} is not {_KIND_NAMES[self._kind]}",
            self._gap_hint,
        )

    def _refuse_large(self, cells: Cells, first: int = 0) -> NoReturn:
        """Raise RequestError for the first number that is infinite as a float."""
        row = next(row for row, cell in enumerate(cells) if cell is not None and _is_infinite(cell))
        cell = cells[row]
        shown = ("-Infinity" if cell < 0 else "Infinity") if isinstance(cell, float) else f"{str(cell)[:20]}…"
        raise bad_request(
            f"the number {shown} in {self._cell(first + row)} is too large", "send finite numbers"
        )

    def _refuse_outside(self, cells: Sequence[int | None], first: int = 0) -> NoReturn:
        limits = self._limits
        row = next(
            row for row, cell in enumerate(cells) if cell is not None and not limits.min <= cell <= limits.max
        )
        raise bad_request(
            f"{str(cells[row])[:40]} in {self._cell(first + row)} is outside {limits.min}..{limits.max}"
        )

    def _cell(self, row: int) -> str:
        return f"row {self._first_row + row}, column {quote(self._column.name)}"


def _is_infinite(cell: Any) -> bool:
    try:
        return math.isinf(cell)
    except OverflowError:
        return True
