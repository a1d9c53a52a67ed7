"""How the cells of a table's column are read: found once in training, and applied to every file and request after it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np

from mlctl.domain.missing_values import MISSING_WORDS, is_number_gap
from mlctl.domain.units import Units
from mlctl.domain.written_numbers import split_number, to_float

NUMBER, CATEGORY, BOOLEAN, DATE, TEXT = "number", "category", "boolean", "date", "text"

ISO_DATE, EPOCH, EPOCH_MS = "ISO8601", "epoch", "epoch_ms"  # as in serving/scoring.py, which travels alone
_NUMERIC_DATES = ("%Y%m%d", "%Y%m", "%Y%m%d%H%M", "%Y%m%d%H%M%S", EPOCH, EPOCH_MS)
_ISO_START = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
_WHOLE = re.compile(r"([0-9]+)\.0*")  # as pandas writes whole numbers of a column with gaps

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class ColumnReading:
    """How the cells of one column are read.

    Attributes:
        kind: The column's type: number, category, boolean, date, or text.
        decimal: The sign before decimals: "." or ",".
        thousands: The signs between thousands, besides spaces and apostrophes: "", "," or ".".
        factors: What a number is multiplied by, by the unit beside it; "" stands for none.
        unit: The unit of the numbers, or "".
        sentinels: Numbers that stand for a missing value.
        low, high: The range of the training's numbers, which decides whether a "1,234" without a precedent is 1234
            or 1.234; None if it is not known.
        date_format: The format of dates.
        true_words, false_words: Words of a flag, which becomes true or false; in lower case.
        blank_is_false: An empty cell is false.
        categories: The categories that training had, if there are not too many; else ().
        gap_words: Other words that training took for missing values: those among numbers or dates.
        brackets_are_plain: Numbers in parentheses are positive, such as years: all of training's are in parentheses.
        takes_texts: Numbers may come as texts in JSON, because they do not have the form of JSON's numbers.
    """

    kind: str
    decimal: str = "."
    thousands: str = ""
    factors: Mapping[str, float] = field(default_factory=dict)
    unit: str = ""
    sentinels: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    date_format: str = ""
    true_words: tuple[str, ...] = ()
    false_words: tuple[str, ...] = ()
    blank_is_false: bool = False
    categories: tuple[str, ...] = ()
    gap_words: tuple[str, ...] = ()
    brackets_are_plain: bool = False
    takes_texts: bool = False

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> ColumnReading:
        """Return the reading of a stored state; keys of later versions are ignored."""
        known = {entry.name for entry in fields(cls)}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in state.items()}
        arguments: dict[str, Any] = {name: value for name, value in values.items() if name in known}
        return cls(**arguments)

    def to_json(self) -> dict[str, Any]:
        """Return the state from which `from_json` restores this reading: what differs from the defaults."""
        defaults = asdict(ColumnReading(kind=self.kind))
        return {"kind": self.kind} | {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value != defaults[name]
        }

    @property
    def is_plain(self) -> bool:
        """Whether numbers are digits with at most a point, as any reader of tables has them."""
        return self.kind == NUMBER and not (
            self.takes_texts or self.sentinels or self.factors or self.decimal != "." or self.thousands
        )

    @property
    def is_flag(self) -> bool:
        """Whether cells become true or false."""
        return bool(self.true_words)

    def read(self, cells: Iterable[Any]) -> Array:
        """Return the values of cells: float64 with NaN for numbers, else objects with None for a missing value.

        A cell without a value of this kind counts as a missing value.
        """
        return self.to_array([self.read_cell(cell) for cell in cells])

    def to_array(self, values: Sequence[Any]) -> Array:
        """Return read values as an array: float64 with NaN for numbers, else objects."""
        if self.kind == NUMBER:
            return np.array(values, np.float64)
        result = np.empty(len(values), object)
        result[:] = values
        return result

    def read_cell(self, cell: Any) -> Any:
        """Return the value of a cell: a text, a number, true or false, or None; None if it has none."""
        if self.kind == NUMBER:
            number = self.read_number(cell) if isinstance(cell, str) else _as_float(cell)
            return None if number is None or number in self.sentinels else number
        if self.is_flag:
            return self._read_flag(cell)
        if cell is None or cell != cell:
            return None
        text = as_text(cell)
        if text in MISSING_WORDS or text in self.gap_words:
            return None
        return self._as_in_training(text) if self.kind == DATE else text

    def read_number(self, text: str) -> float | None:
        """Return the number that a cell holds, whatever stands beside it; None if it holds none."""
        if (match := self._usual.fullmatch(text)) and not (match[2] and match[5]):
            sign, currency, whole, decimals, unit = match.groups()
            if self.thousands:
                whole = whole.replace(self.thousands, "")
            number = float(f"{sign}{whole}.{decimals}" if decimals else sign + whole)
            return number * self.factors[currency or unit] if currency or unit else number
        written = split_number(text)
        if written is None:
            return None
        number_or_none = to_float(written.body, self.decimal, self._groups(written.body))
        factor = self._factor(written.unit)
        if number_or_none is None or factor is None:
            return None
        number = number_or_none * (float("1" + written.exponent) if written.exponent else 1.0) * factor
        if not math.isfinite(number):
            return None
        is_negative = written.is_negative and not (self.brackets_are_plain and text.lstrip()[0] == "(")
        return -number if is_negative else number

    @cached_property
    def changes_json(self) -> bool:
        """Whether values of a JSON document, which are numbers or texts already, may have to be read."""
        has_words = self.takes_texts or bool(self.gap_words) or self.is_flag
        return has_words or bool(self.sentinels) or (self.kind == DATE and self.date_format != ISO_DATE)

    @property
    def _has_digits_only(self) -> bool:
        """Whether dates are written as whole numbers."""
        return self.kind == DATE and self.date_format in _NUMERIC_DATES

    def read_json(self, cell: Any) -> Any:
        """Return a value of a JSON document as training read it; the value itself if training could not read it."""
        if self.kind == NUMBER:
            if isinstance(cell, str):
                value = self.read_cell(cell) if self.takes_texts else cell
                return cell if value is None and self.takes_texts and not self.is_gap(cell) else value
            return None if cell in self.sentinels else cell
        if self.is_flag and (isinstance(cell, str) or cell is None):
            value = self._read_flag(cell)
            return cell if value is None and not self.is_gap(cell) else value
        if self.gap_words and isinstance(cell, str) and cell.strip() in self.gap_words:
            return None
        if self._has_digits_only and isinstance(cell, (int, float)) and not isinstance(cell, bool):
            return as_text(cell)
        return self._as_in_training(cell) if self.kind == DATE and isinstance(cell, str) else cell

    def _as_in_training(self, text: str) -> str:
        """Return an ISO date, or a date such as 20190131.0, as dates are in training; any other text as it is."""
        if self._has_digits_only and (whole := _WHOLE.fullmatch(text)):
            return whole[1]
        is_iso = len(text) >= len("2019-01-31") and bool(_ISO_START.match(text))
        if not is_iso or self.date_format == ISO_DATE or self.date_format.startswith("%Y-"):
            return text
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            return text
        return write_time(time, self.date_format)

    def read_csv(self, text: str) -> Any:
        """Return the value of a CSV's cell as training read it; the text itself if training could not read it."""
        value = self.read_cell(text)
        return text if value is None and not self.is_gap(text) else value

    def is_gap(self, cell: Any) -> bool:
        """Whether a cell says that a value is missing, and is not just another kind of value."""
        if cell is None or cell != cell:
            return True
        if not isinstance(cell, str):
            return cell in self.sentinels
        text = cell.strip()
        if text in MISSING_WORDS or text in self.gap_words:
            return True
        if self.kind != NUMBER:
            return False
        return is_number_gap(text) or (
            (number := self.read_number(text)) is not None and number in self.sentinels
        )

    def _read_flag(self, cell: Any) -> bool | None:
        if isinstance(cell, (bool, np.bool_)):
            return bool(cell)
        word = "" if cell is None or cell != cell else as_text(cell).lower()
        if word in self.true_words:
            return True
        if word in self.false_words:
            return False
        return False if self.blank_is_false and self.is_gap(cell) else None

    def _groups(self, body: str) -> Collection[str]:
        """Return the signs between thousands that a number may have: what training had, or what its range says."""
        if self.thousands or self.low is None or self.high is None:
            return self.thousands
        sign = "," if self.decimal == "." else "."
        if sign not in body:
            return ""
        as_decimal, as_thousands = (to_float(body, self.decimal, groups) for groups in ("", sign))
        if as_decimal is None or as_thousands is None:
            return sign
        fits = [self.low <= abs(value) <= self.high for value in (as_decimal, as_thousands)]
        return "" if fits[0] and not fits[1] else sign

    def _factor(self, unit: str) -> float | None:
        if unit not in self._known_factors:
            base = self.unit
            self._known_factors[unit] = Units(factors=self.factors or {"": 1.0}, base=base).factor(unit)
        return self._known_factors[unit]

    @cached_property
    def _known_factors(self) -> dict[str, float | None]:
        return dict(self.factors or {"": 1.0})

    @cached_property
    def _usual(self) -> re.Pattern[str]:
        """Numbers as most cells of the column have them: this is several times faster than `split_number`."""
        group = re.escape(self.thousands)
        whole = rf"[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]+" if group else r"[0-9]+"
        units = [
            re.escape(unit)
            for unit in sorted(self.factors, key=len, reverse=True)
            if unit and " " not in unit
        ]
        before = rf"(?:({'|'.join(units)})\s*)?" if units else "()"
        after = rf"(?:\s*({'|'.join(units)}))?" if units else "()"
        return re.compile(
            rf"\s*([-+]?){before}({whole})(?:{re.escape(self.decimal)}([0-9]+))?{after}\s*", re.ASCII
        )


def write_time(time: datetime, date_format: str) -> str:
    """Return a time in a date format; one with a zone is converted to UTC."""
    if time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    format = date_format.partition("|")[0]
    if format in ("", ISO_DATE):
        return f"{time:%Y-%m-%dT%H:%M:%S}"
    if format in (EPOCH, EPOCH_MS):
        return str(round(time.replace(tzinfo=UTC).timestamp() * (1 if format == EPOCH else 1000)))
    return f"{time:{format.replace('%q', str((time.month + 2) // 3)).replace('%z', '+0000')}}"


def as_text(cell: Any) -> str:
    """Return a cell as a stripped text, whole numbers without a point."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, (bool, np.bool_)):
        return "true" if cell else "false"
    if isinstance(cell, (float, np.floating)):
        return f"{cell:.15g}"
    return str(cell)


def _as_float(cell: Any) -> float | None:
    """Return a number, or true and false, as a float; None if it is missing or infinite."""
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def readings_from_json(state: Mapping[str, Any]) -> dict[str, ColumnReading]:
    """Return the readings of a stored document by column name."""
    return {name: ColumnReading.from_json(entry) for name, entry in state.items()}


def readings_to_json(readings: Mapping[str, ColumnReading]) -> dict[str, Any]:
    """Return the document from which `readings_from_json` restores readings."""
    return {name: reading.to_json() for name, reading in readings.items()}
