"""The types of a table's columns (number, category, boolean, date, text, or dropped), and how their cells are read."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables import date_columns, number_columns
from mlctl.data.tables.date_columns import DateFormat, detect_date_format
from mlctl.data.tables.number_columns import NumberColumn, WrittenColumn
from mlctl.domain.column_reading import BOOLEAN, CATEGORY, DATE, NUMBER, TEXT, ColumnReading, as_text
from mlctl.domain.missing_values import MISSING_WORDS, is_number_gap
from mlctl.domain.numbers import parse_number
from mlctl.errors import UsageError, did_you_mean
from mlctl.serving.scoring import FALSE_WORDS, ISO_DATE, TRUE_WORDS, DateParser, share_unspaced

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BOOLEAN",
    "CATEGORY",
    "DATE",
    "DROP",
    "NUMBER",
    "TEXT",
    "TYPES",
    "ReadingOptions",
    "TableColumn",
    "cast_to_signature",
    "convert_columns",
    "normalize_cells",
    "parse_dates",
    "parse_numbers",
    "read_numbers",
    "suggest_column",
]
DROP = "drop"
TYPES = (NUMBER, CATEGORY, BOOLEAN, DATE, TEXT, DROP)
MIN_SHARE = number_columns.MIN_SHARE  # of the filled cells must have a type for mlctl to choose it
MIN_SHARE_OF_SET_TYPE = 0.5  # is enough if the user sets the type, or if no other type is of use
MIN_ROWS_OF_ID = 20
MIN_COUNTED, LATEST_START = (
    0.9,
    10.0,
)  # share of the steps of 1 in a row counter with gaps, and its first number
MIN_FLAGS, MIN_SHARE_OF_FLAGS = 5, 0.005  # filled and empty cells of a flag that is empty or not
MIN_CODES = 0.01  # share of whole numbers that begin with a zero, from which on a column holds codes
MAX_KEPT_CATEGORIES = 1000  # of a column, to tell a new one
FINGERPRINT_CELLS = 100
ID_REASON = "an id: each row has its own"
COUNTER_REASON = "a row counter"
_ID_NAME = re.compile(
    r"(^|[_\s.-])(id|ids|uuid|guid|key|index|idx|rownames?|row_?(number|num|no|id)?|nr|s\.? ?no|sr\.? ?no|serial"
    r"|record_?(no|id)?)\.?$|^unnamed: \d+$|^(#|№|no\.?|lfd\.? ?nr\.?)$",
    re.IGNORECASE,
)
_ID_SUFFIX = re.compile(r"[a-z](Id|ID|Key)$")
_LEADING_ZERO = re.compile(r"0[0-9]+")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class TableColumn:
    """A column's type, and how its cells are read.

    Attributes:
        reason: Why it is dropped, else "".
        missing: Number of cells without a value of this type.
        format: Format of a date column, else "".
        reading: How a file's or request's cells are read; None of a dropped column.
        remarks: What was done with its cells, each in a few words: "unit km taken off".
        question: A sentence about what mlctl cannot know, and the option that sets it; or "".
    """

    name: str
    type: str
    reason: str = ""
    missing: int = 0
    format: str = ""
    reading: ColumnReading | None = None
    remarks: tuple[str, ...] = ()
    question: str = ""


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """What the user sets about the columns.

    Attributes:
        types: Types by column.
        date_formats: Formats of dates by column.
        finds_sentinels: Whether numbers such as -999 may be found to stand for a missing value.
        sentinels: The number that stands for a missing value by column; None: there is none.
    """

    types: Mapping[str, str] = field(default_factory=dict)
    date_formats: Mapping[str, str] = field(default_factory=dict)
    finds_sentinels: bool = True
    sentinels: Mapping[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ReadingOptions:
        """Return what a recipe's options say: column.NAME, date.NAME, sentinel.NAME and sentinels."""
        named: dict[str, dict[str, str]] = {"column": {}, "date": {}, "sentinel": {}}
        for option, value in options.items():
            kind, dot, name = option.partition(".")
            if dot and kind in named:
                named[kind][name] = str(value)
        return cls(
            types=named["column"],
            date_formats=named["date"],
            finds_sentinels=str(options.get("sentinels", True)).lower() not in ("false", "0", "no"),
            sentinels={name: _parse_sentinel(name, value) for name, value in named["sentinel"].items()},
        )

    def check(self, names: Iterable[str]) -> None:
        """Raise UsageError for a column that the table does not have, or a value that no column can have."""
        known = set(names)
        for option, values in (
            ("column", self.types),
            ("date", self.date_formats),
            ("sentinel", self.sentinels),
        ):
            for name in values:
                if name not in known:
                    raise UsageError(
                        f"{option}.{name}: the table has no such column", suggest_column(name, names)
                    )
        for name, type in self.types.items():
            if type not in TYPES:
                raise UsageError(
                    f"column.{name}={type}: unknown column type", f"use one of {', '.join(TYPES)}"
                )
        for name, format in self.date_formats.items():
            if not date_columns.check_format(format):
                raise UsageError(
                    f"date.{name}={format}: this is no format of dates",
                    "write it as %d.%m.%Y, %m/%d/%Y or %d-%b-%y, or use ISO8601, epoch or epoch_ms",
                )


def _parse_sentinel(name: str, value: str) -> float | None:
    if value.lower() in ("none", "false", "no", ""):
        return None
    number = parse_number(value)
    if number is None:
        raise UsageError(
            f"sentinel.{name}={value} is no number", f"example: --set sentinel.{name}=-999, or none"
        )
    return float(number)


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
    drafts = {str(name): _Draft.of(str(name), frame[name], options) for name in frame}
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


def suggest_column(name: str, columns: Iterable[Any]) -> str:
    """Return a hint for a name that is not a column."""
    names = [str(column) for column in columns]
    return did_you_mean(name, names) or f"the columns are {', '.join(names[:20])}"


class _Draft:
    """A column whose type is being detected.

    Attributes:
        values: Its cells: float64 with NaN, objects of true, false and None, or stripped texts with None.
        written: The different texts, of a column of texts.
        numbers: The numbers in a column of texts, if it holds any.
        dates: The format of its dates.
    """

    def __init__(self, name: str, options: ReadingOptions) -> None:
        self.name = name
        self.set_type = options.types.get(name)
        self.set_format = options.date_formats.get(name, "")
        if self.set_format and self.set_type is None:
            self.set_type = DATE
        self.is_set = self.set_type is not None
        self.sentinel: float | None = None
        self.values: Any = None
        self.written: WrittenColumn | None = None
        self.numbers: NumberColumn | None = None
        self.dates = DateFormat()
        self.is_lists = False

    @classmethod
    def of(cls, name: str, values: pd.Series[Any], options: ReadingOptions) -> _Draft:
        """Return the draft of a column as a reader returns it."""
        draft = cls(name, options)
        if draft.set_type == DROP:
            draft.values = values
            return draft
        booleans = _as_booleans(values)
        if booleans is not None:
            draft.values = booleans
            return draft
        values = _without_lists(values)
        draft.is_lists = values is not None and getattr(values, "attrs", {}).get("lists", False)
        cells = normalize_cells(values)
        if cells.dtype.kind == "O":
            draft.written = WrittenColumn.of(cells)
        draft.values = cells
        return draft

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers."""
        return getattr(self.values.dtype, "kind", "O") == "f"

    @property
    def is_boolean(self) -> bool:
        """Whether the values are true, false and None."""
        return self.written is None and not self.is_number

    def word_cells(self) -> list[str]:
        """Return the different texts without those that stand for a missing value."""
        return [cell for cell in self.written.cells if cell not in MISSING_WORDS] if self.written else []

    def date_cells(self) -> list[str]:
        """Return the different texts without those that say that there is no date, such as "unknown"."""
        return [cell for cell in self.word_cells() if not is_number_gap(cell)]

    def finish(self) -> tuple[Any, TableColumn]:
        """Return the values and the column."""
        if self.set_type == DROP:
            missing = int(self.values.isna().sum())
            return self.values, TableColumn(name=self.name, type=DROP, reason="as set", missing=missing)
        if self.set_type is not None:
            return self._finish_set(self.set_type)
        if self.is_boolean:
            return self._finish_booleans(BOOLEAN)
        if self.is_number:
            return self._finish_typed_numbers()
        return self._finish_texts()

    def _finish_typed_numbers(self) -> tuple[Any, TableColumn]:
        values = self.values
        array = values.to_numpy()
        filled = array[~np.isnan(array)]
        missing = len(array) - len(filled)
        if not len(filled) or filled.min() == filled.max():
            return self._finish_single(missing, "" if not len(filled) else as_text(float(filled[0])))
        if reason := _numeric_id_reason(self.name, filled):
            return self._dropped(reason, missing)
        if self.dates.format:
            return self._finish_dates()
        return self._finish_numbers(NUMBER)

    def _finish_texts(self) -> tuple[Any, TableColumn]:
        assert self.written is not None
        if (
            self.numbers is not None
            and self.numbers.is_number
            and not self.dates.format
            and not _are_codes(self.written)
        ):
            finite = self.numbers.values[np.isfinite(self.numbers.values)]
            if finite.min() == finite.max():
                return self._finish_single(len(self.numbers.values) - len(finite), self._first_word())
            has_unit = bool(self.numbers.reading.unit)
            if not has_unit and (reason := _numeric_id_reason(self.name, finite)):
                return self._dropped(reason, len(self.numbers.values) - len(finite))
            return self._finish_numbers(NUMBER)
        cells = self._word_values()
        words = self.word_cells()
        missing = int(cells.isna().sum())
        if len(words) <= 1:
            return self._finish_single(missing, words[0] if words else "")
        if self.dates.format:
            return self._finish_dates()
        if truths := _truth_words(words):
            return self._finish_truths(cells, *truths)
        type = _type_of_words(cells, words, self.written) if not self.is_lists else TEXT
        if (
            type == DROP
            and self.numbers is not None
            and self.numbers.share > MIN_SHARE_OF_SET_TYPE
            and not _are_codes(self.written)
        ):
            return self._finish_numbers(NUMBER)  # more useful than an id
        if type == DROP:
            loose = detect_date_format(words, MIN_SHARE_OF_SET_TYPE)
            if loose.format:
                self.dates = loose
                return self._finish_dates()
            return self._dropped(ID_REASON, missing)
        return cells, TableColumn(
            name=self.name,
            type=type,
            missing=missing,
            reading=_reading_of_words(type, words),
            remarks=self._remarks_of_words(type),
            question=self._mixed_units(),
        )

    def _finish_set(self, set_type: str) -> tuple[Any, TableColumn]:
        """Convert the column to the type that the user sets; raises UsageError if most cells do not have it."""
        if self.is_boolean:
            if set_type in (BOOLEAN, CATEGORY):
                return self._finish_booleans(set_type)
            self.values = _boolean_words(self.values)
            self.written = WrittenColumn.of(self.values)
        if set_type == NUMBER:
            return self._finish_set_number()
        if set_type == DATE:
            return self._finish_set_date()
        if self.is_number:
            if set_type == TEXT:
                raise UsageError(
                    f"column.{self.name}={TEXT}: the column holds numbers",
                    f"to keep them as words, set column.{self.name}={CATEGORY}",
                )
            if set_type == BOOLEAN:
                booleans = self.values.map({0.0: False, 1.0: True})
                self._require_type(set_type, booleans.notna())
                booleans = booleans.astype(object).where(booleans.notna(), None)
                return booleans, TableColumn(
                    name=self.name,
                    type=BOOLEAN,
                    missing=int(booleans.isna().sum()),
                    reading=ColumnReading(kind=BOOLEAN, true_words=("1", "true"), false_words=("0", "false")),
                )
            return self._finish_numbers(CATEGORY)
        cells = self._word_values()
        if set_type == BOOLEAN:
            words = self.word_cells()
            if len(words) == 1:
                return self._finish_single(int(cells.isna().sum()), words[0], always=True)
            self._require_type(set_type, cells.str.lower().isin(TRUE_WORDS | FALSE_WORDS))
            return self._finish_truths(cells, *_split_truths(words))
        return cells, TableColumn(
            name=self.name,
            type=set_type,
            missing=int(cells.isna().sum()),
            reading=_reading_of_words(set_type, self.word_cells()),
            remarks=self._remarks_of_words(set_type),
        )

    def _finish_set_number(self) -> tuple[Any, TableColumn]:
        if self.written is not None:
            if self.numbers is None or self.numbers.mixed:
                # the user says that they are numbers, whatever stands beside them
                self.numbers = _read_any_number(self.written)
            import pandas as pd

            numbers = pd.Series(self.numbers.values, self.values.index)
            self._require_type(NUMBER, numbers.notna() | ~self._word_values().notna())
        return self._finish_numbers(NUMBER)

    def _finish_set_date(self) -> tuple[Any, TableColumn]:
        if self.is_number:
            texts = self.values.map(as_text, na_action="ignore").astype(object)
            self.values = texts.where(texts.notna(), None)
            self.written = WrittenColumn.of(self.values)
        words = self.word_cells()
        if self.set_format:
            self.dates = DateFormat(format=self.set_format, example=words[0] if words else "")
        else:
            self.dates = detect_date_format(words, MIN_SHARE_OF_SET_TYPE)
            if not self.dates.format and all(re.fullmatch(r"[0-9]{6}", word) for word in words[:200]):
                self.dates = DateFormat(format="%Y%m", example=words[0] if words else "")
        cells = self._word_values()
        parsed = (
            date_columns.are_dates(cells, self.dates.format) if self.dates.format else [False] * len(cells)
        )
        option = f"date.{self.name}={self.set_format}" if self.set_format else ""
        self._require_type(DATE, np.array(parsed, bool), option=option)
        return self._finish_dates()

    def _require_type(self, set_type: str, is_valid: Any, option: str = "") -> None:
        """Raise UsageError if most of the filled cells do not have the type that the user sets."""
        filled = self.values.notna().to_numpy() & ~self.values.isin(MISSING_WORDS).to_numpy()
        wrong = self.values[filled & ~np.asarray(is_valid, bool)]
        if len(wrong) > MIN_SHARE_OF_SET_TYPE * filled.sum():
            kind = "format" if option else f"type ({', '.join(TYPES)})"
            raise UsageError(
                f"{option or f'column.{self.name}={set_type}'}: row {wrong.index[0] + 1} holds"
                f" {str(wrong.iloc[0])[:40]!r}",
                f"set another {kind}, or leave the option out",
            )

    def _finish_numbers(self, type: str) -> tuple[Any, TableColumn]:
        import pandas as pd

        if self.numbers is not None:
            values = pd.Series(self.numbers.values, self.values.index, name=self.name)
            reading, remarks, question = self.numbers.reading, _number_remarks(self.numbers), ""
            if self.numbers.is_ambiguous and self.numbers.reading.thousands == ",":
                remarks = (*remarks, "commas stand between thousands")
        else:
            values, question, remarks = self.values, "", ()
            reading = number_columns.with_range(
                ColumnReading(kind=NUMBER, decimal=self.decimal), values.to_numpy()
            )
        if self.sentinel is not None:
            values = values.where(values != self.sentinel)
            reading = replace(
                number_columns.with_range(reading, values.to_numpy()), sentinels=(self.sentinel,)
            )
            shown = as_text(self.sentinel)
            remarks = (
                *remarks,
                f"{shown} is read as missing (to keep it as a number: --set sentinels=false)",
            )
        return values, TableColumn(
            name=self.name,
            type=type,
            missing=int(values.isna().sum()),
            reading=reading,
            remarks=remarks,
            question=question,
        )

    decimal = "."  # of the table

    def _finish_dates(self) -> tuple[Any, TableColumn]:
        """Return a column of dates in one format; a cell in another format counts as missing."""
        if self.is_number:
            texts = self.values.map(as_text, na_action="ignore").astype(object)
            self.values = texts.where(texts.notna(), None)
            self.written = WrittenColumn.of(self.values)
        assert self.written is not None
        parser = DateParser(self.dates.format)
        is_date = np.array([*(parser(cell) is not None for cell in self.written.cells), False])
        mask = is_date[self.written.codes]
        values = self.values.where(mask, None)
        shown = self.dates.format.replace("|", " or ")
        remark = f"dates such as {self.dates.example}" + ("" if shown == ISO_DATE else f" ({shown})")
        other = self.dates.other
        question = ""
        if other:
            orders = sorted(
                (date_columns.describe_order(self.dates.format), date_columns.describe_order(other))
            )
            because = f", because {self.dates.reason}" if self.dates.reason else ""
            question = (
                f"{self.name} may be {orders[1]} or {orders[0]}: read as"
                f" {date_columns.describe_order(self.dates.format)}{because}"
                f" (to change: --set date.{self.name}={_quoted(other)})"
            )
        return values, TableColumn(
            name=self.name,
            type=DATE,
            missing=int((~mask).sum()),
            format=self.dates.format,
            reading=ColumnReading(kind=DATE, date_format=self.dates.format),
            remarks=() if other else (remark,),
            question=question,
        )

    def _finish_booleans(self, type: str) -> tuple[Any, TableColumn]:
        values = self.values
        filled = values.dropna()
        missing = len(values) - len(filled)
        if not self.is_set and filled.nunique() <= 1:
            return self._finish_single(missing, "true" if len(filled) and filled.iloc[0] else "false")
        reading = ColumnReading(kind=BOOLEAN, true_words=("true", "1"), false_words=("false", "0"))
        return values, TableColumn(name=self.name, type=type, missing=missing, reading=reading)

    def _finish_truths(
        self, cells: pd.Series[Any], true_words: Sequence[str], false_words: Sequence[str]
    ) -> tuple[Any, TableColumn]:
        """Return a column of words for yes and no; those that are true and false become bool, as in other formats."""
        words = {*true_words, *false_words}
        missing = int(cells.isna().sum())
        reading = ColumnReading(kind=BOOLEAN)
        if words == {"true", "false"}:
            reading = ColumnReading(kind=BOOLEAN, true_words=("true", "1"), false_words=("false", "0"))
            values = cells.map(lambda cell: cell.lower() == "true", na_action="ignore").astype(object)
            cells = values.astype(bool) if not missing else values.where(cells.notna(), None)
        elif self.set_type == BOOLEAN:
            known = cells.str.lower().isin(TRUE_WORDS | FALSE_WORDS)
            cells = cells.where(known, None)
            missing = int(cells.isna().sum())
        return cells, TableColumn(name=self.name, type=BOOLEAN, missing=missing, reading=reading)

    def _finish_single(self, missing: int, word: str, *, always: bool = False) -> tuple[Any, TableColumn]:
        """Return a column with one value: a flag if it is often empty, or else dropped."""
        import pandas as pd

        rows = len(self.values)
        least = max(MIN_FLAGS, MIN_SHARE_OF_FLAGS * rows)
        is_flag = word and missing >= least and rows - missing >= least
        if not (is_flag or (always and word)):
            return self._dropped("always the same" if word else "always empty", missing)
        reading = ColumnReading(
            kind=BOOLEAN,
            true_words=tuple({word.lower(): None, "true": None, "yes": None}),
            false_words=("false", "no", "0"),
            blank_is_false=True,
        )
        if word.lower() in FALSE_WORDS:
            reading = replace(reading, true_words=(word.lower(),), false_words=())
        filled = self.values.notna() & ~self.values.isin(MISSING_WORDS)
        if self.numbers is not None:
            filled = pd.Series(np.isfinite(self.numbers.values), self.values.index)
        return filled.astype(bool), TableColumn(
            name=self.name,
            type=BOOLEAN,
            reading=reading,
            remarks=(f"{word} or empty, read as yes or no",),
        )

    def _dropped(self, reason: str, missing: int) -> tuple[Any, TableColumn]:
        return self.values, TableColumn(name=self.name, type=DROP, reason=reason, missing=missing)

    def _word_values(self) -> pd.Series[Any]:
        """Return the texts, with None for words that stand for a missing value."""
        values = self.values
        is_missing = values.isin(MISSING_WORDS)
        return values.where(~is_missing, None) if is_missing.any() else values

    def _first_word(self) -> str:
        words = self.word_cells()
        return words[0] if words else ""

    def _remarks_of_words(self, type: str) -> tuple[str, ...]:
        if self.is_lists:
            return ("lists, read as texts",)
        if type == CATEGORY and self.written is not None and _are_codes(self.written):
            return ("numbers that begin with 0 are codes, read as categories",)
        return ()

    def _mixed_units(self) -> str:
        if self.numbers is None or not self.numbers.mixed:
            return ""
        units = " and ".join(self.numbers.mixed[:3])
        return (
            f"{self.name}: {units} cannot be converted into each other, so the cells are read as words"
            f" (to ignore the units: --set column.{self.name}={NUMBER})"
        )


def _read_numbers(drafts: Mapping[str, _Draft], options: ReadingOptions) -> None:
    """Read the numbers in columns of texts; the whole table decides on the sign before decimals."""
    looked = {
        name: draft.written.look()
        for name, draft in drafts.items()
        if draft.written is not None and (draft.written.may_be_numbers() or draft.set_type == NUMBER)
    }
    has_points = any(draft.is_number and _has_fractions(draft.values.to_numpy()) for draft in drafts.values())
    decided = number_columns.decide_signs(looked, has_points=has_points)
    for name, (decimal, thousands, is_guess) in decided.items():
        draft = drafts[name]
        assert draft.written is not None
        draft.numbers = draft.written.read(decimal, thousands, is_ambiguous=is_guess)
    decimal = number_columns.table_decimal(decided)
    for draft in drafts.values():
        draft.decimal = decimal


def _has_fractions(values: Array) -> bool:
    with np.errstate(invalid="ignore"):
        return bool((values[:1000] % 1 > 0).any())


def _read_dates(drafts: Mapping[str, _Draft]) -> None:
    """Find the formats of dates; columns that leave the order of day and month open follow the others."""
    for draft in drafts.values():
        if draft.set_type is not None:
            continue
        if draft.is_number:
            draft.dates = _dates_of_numbers(draft.values.to_numpy())
        elif draft.written is not None and not (
            draft.numbers and draft.numbers.is_number and draft.numbers.units
        ):
            found = detect_date_format(draft.date_cells(), MIN_SHARE)
            if not (draft.numbers and draft.numbers.is_number) or date_columns.is_sure_of_numbers(
                found.format
            ):
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
    with np.errstate(invalid="ignore"):
        low, high = np.fmin.reduce(values) if len(values) else 0, np.fmax.reduce(values) if len(values) else 0
        if not (low >= 19000101 and high <= 21001231):
            return DateFormat()
        filled = values[~np.isnan(values)]
        months, days = filled // 100 % 100, filled % 100
        is_date = (filled % 1 == 0) & (months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)
    if not is_date.all() or low == high:
        return DateFormat()
    return DateFormat(format="%Y%m%d", share=1.0, example=as_text(float(filled[0])))


def _read_sentinels(drafts: Mapping[str, _Draft], options: ReadingOptions) -> None:
    """Find the numbers that stand for a missing value."""
    numbers = {
        name: array
        for name, draft in drafts.items()
        if (array := _numbers_of(draft)) is not None and name not in options.sentinels
    }
    found = number_columns.find_sentinels(numbers) if options.finds_sentinels else {}
    for name, value in {**found, **options.sentinels}.items():
        draft = drafts[name]
        if draft.set_type in (None, NUMBER):
            draft.sentinel = value


def _numbers_of(draft: _Draft) -> Array | None:
    if draft.set_type not in (None, NUMBER) or draft.dates.format:
        return None
    if draft.is_number:
        array: Array = draft.values.to_numpy()
        return array
    if draft.numbers is not None and draft.numbers.is_number:
        return draft.numbers.values
    return None


def _reading_of_words(type: str, words: Sequence[str]) -> ColumnReading:
    known = tuple(sorted(words)) if type == CATEGORY and len(words) <= MAX_KEPT_CATEGORIES else ()
    return ColumnReading(kind=type, categories=known)


def _read_any_number(written: WrittenColumn) -> NumberColumn:
    """Return the numbers of a column whatever units they have."""
    decimal, thousands, is_guess = number_columns.decide_signs({"": written.look()})[""]
    return written.read(decimal, thousands, is_ambiguous=is_guess, ignores_units=True)


def _number_remarks(numbers: NumberColumn) -> tuple[str, ...]:
    """Return what was done to read a column's numbers."""
    remarks = []
    units = list(numbers.units)
    factors = numbers.reading.factors
    scaled = [unit for unit in units if factors.get(unit, 1.0) != 1.0]
    if scaled and numbers.reading.unit:
        named = " and ".join(units[:4])
        remarks.append(f"units {named}, read as {numbers.reading.unit}")
    elif scaled:
        example = scaled[0]
        remarks.append(f"1 {example} is read as {as_text(factors[example])}")
    elif units:
        remarks.append(f"unit{'s' if len(units) > 1 else ''} {' and '.join(units[:4])} taken off")
    if numbers.reading.decimal == ",":
        remarks.append("decimal commas" + (", points between thousands" if numbers.reading.thousands else ""))
    if numbers.is_spaced:
        remarks.append("spaces or apostrophes between thousands taken off")
    if numbers.bounds:
        value = numbers.reading.read_number(numbers.bound)
        cells = "1 cell" if numbers.bounds == 1 else f"{numbers.bounds:,} cells"
        remarks.append(f"bounds are read as their number: {numbers.bound} as {as_text(value)} ({cells})")
    if numbers.gaps:
        listed = ", ".join(list(numbers.gaps)[:4])
        remarks.append(f"{listed} {'is' if len(numbers.gaps) == 1 else 'are'} read as missing")
    if numbers.words:
        listed = ", ".join(map(repr, list(numbers.words)[:3]))
        more = f" and {len(numbers.words) - 3} more" if len(numbers.words) > 3 else ""
        verb = "is no number" if len(numbers.words) == 1 else "are no numbers"
        remarks.append(f"{listed}{more} {verb}: read as missing")
    return tuple(remarks)


def _quoted(text: str) -> str:
    return f"'{text}'" if " " in text else text


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


def _without_lists(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return lists in cells as texts; `attrs["lists"]` says that there were some."""
    if values.dtype != object:
        return values
    probe = next(
        (cell for cell in values.iloc[:1000] if isinstance(cell, (list, tuple, np.ndarray, set, dict))), None
    )
    if probe is None:
        return values
    texts = values.map(
        lambda cell: (
            " ".join(map(str, cell)) if isinstance(cell, (list, tuple, np.ndarray, set, dict)) else cell
        )
    )
    texts.attrs["lists"] = True
    return texts


def _boolean_words(values: pd.Series[Any]) -> pd.Series[Any]:
    words = values.map({True: "true", False: "false"}).astype(object)
    return words.where(words.notna(), None)


def _as_booleans(values: pd.Series[Any]) -> pd.Series[Any] | None:
    """Return a column of true and false as bool, with None for missing cells; None for any other column."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(values):
        if not values.isna().any():
            return values.astype(bool)
    elif values.dtype != object or pd.api.types.infer_dtype(values, skipna=True) != "boolean":
        return None
    if not values.isna().any():
        return values.astype(bool)
    return values.map(bool, na_action="ignore").astype(object).where(values.notna(), None)


def cast_to_signature(values: pd.Series[Any], mlflow_type: str, *, required: bool) -> pd.Series[Any]:
    """Convert a file's column to the type that it has in a model's signature, as a client would send it.

    This is for models without readings: those of earlier versions and of other recipes. Cells are stripped, and
    numbers lose a currency or percent sign. In a column of numbers, a word becomes a missing value if the signature
    allows one; if the column is `required`, the word stays, so that the check of the input can report its row.
    """
    if mlflow_type == "boolean":
        booleans = _as_booleans(values)
        return _truths(normalize_cells(values)) if booleans is None else booleans
    if mlflow_type in {"long", "integer"} and getattr(values.dtype, "kind", "O") in "iu":
        return values  # as floats, large ones would lose digits
    cells = normalize_cells(values)
    if mlflow_type == "string" and cells.dtype.kind == "f":  # a batch of a text column may hold only numbers
        return cells.map("{:.15g}".format, na_action="ignore").astype(object)
    if cells.dtype.kind == "O":
        cells = cells.where(~cells.isin(MISSING_WORDS), None)
    if mlflow_type not in {"double", "float", "long", "integer"}:
        return cells
    numbers = parse_numbers(cells)
    return numbers.astype(object).where(numbers.notna() | cells.isna(), cells) if required else numbers


def _truths(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers and texts as true, false and None; a text that is none of these stays, for the check to report."""
    known = {0.0: False, 1.0: True, "true": True, "false": False, "1": True, "0": False}

    def read(cell: Any) -> Any:
        if isinstance(cell, str):
            return None if cell in MISSING_WORDS else known.get(cell.lower(), cell)
        return known.get(cell, cell)

    truths = cells.map(read, na_action="ignore").astype(object)
    return truths.where(truths.notna(), None)


def normalize_cells(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers as float64 with NaN, and all else as stripped str objects with None for an empty cell."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(values):
        return values.map({True: "true", False: "false"}).astype(object).where(values.notna(), None)
    if pd.api.types.is_numeric_dtype(values):
        if values.dtype == np.float64:
            array = values.to_numpy()
            if not np.isinf(array).any():
                return values
            return pd.Series(np.where(np.isfinite(array), array, np.nan), values.index, name=values.name)
        if isinstance(values.dtype, np.dtype):
            return values.astype(np.float64)
        numbers = values.astype("Float64").to_numpy(np.float64, na_value=np.nan)
        return pd.Series(np.where(np.isfinite(numbers), numbers, np.nan), values.index, name=values.name)
    if pd.api.types.is_datetime64_any_dtype(values):
        return values.dt.strftime("%Y-%m-%dT%H:%M:%S").astype(object).where(values.notna(), None)
    cells = values.astype(object).to_numpy(object)
    texts = [_text_or_none(cell) for cell in cells.tolist()]
    array = np.empty(len(texts), object)
    array[:] = texts
    return pd.Series(array, values.index, dtype=object, name=values.name)


def _text_or_none(cell: Any) -> str | None:
    if type(cell) is str:
        return cell.strip() or None
    if cell is None or cell != cell:
        return None
    return str(cell).strip() or None


def parse_numbers(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return cells as numbers, NaN if they are none; a currency, a percent sign and thousands commas are allowed."""
    import pandas as pd

    if values.dtype.kind == "f":
        return values
    numbers = [parse_number(cell, decorated=True) if isinstance(cell, str) else None for cell in values]
    return pd.Series(np.array(numbers, np.float64), values.index, name=values.name)


def read_numbers(values: pd.Series[Any], table: pd.DataFrame | None = None) -> NumberColumn | None:
    """Return the numbers of one column, such as a target; None if it has too few.

    The other columns of its `table` help to decide which sign stands before decimals.
    """
    cells = normalize_cells(values)
    if cells.dtype.kind == "f":
        array = cells.to_numpy()
        return NumberColumn(
            reading=number_columns.with_range(ColumnReading(kind=NUMBER), array), values=array, share=1.0
        )
    written = WrittenColumn.of(cells)
    if not written.may_be_numbers():
        return None
    looked = {str(values.name): written.look()}
    has_points = False
    columns = {} if table is None else {str(name): table[name] for name in table}
    for name, column in columns.items():
        if name in looked:
            continue
        others = normalize_cells(column)
        if others.dtype.kind == "f":
            has_points = has_points or _has_fractions(others.to_numpy())
        elif (other := WrittenColumn.of(others)).may_be_numbers():
            looked[name] = other.look()
    decided = number_columns.decide_signs(looked, has_points=has_points)
    decimal, thousands, is_guess = decided[str(values.name)]
    return written.read(decimal, thousands, is_ambiguous=is_guess)


def parse_dates(values: Iterable[Any], date_format: str) -> Array:
    """Return cells as days since 2000, with fractions for the time; NaN if they do not have this format."""
    parser = DateParser(date_format)
    moments = [None if cell is None or cell != cell else parser(cell) for cell in values]
    return np.array(
        [np.nan if moment is None else moment[0] + moment[1] / 24 for moment in moments], np.float64
    )


def _are_codes(written: WrittenColumn) -> bool:
    """Whether whole numbers are codes, such as post codes: some begin with a zero."""
    with_zero = sum(
        int(count)
        for cell, count in zip(written.cells, written.counts, strict=True)
        if cell[0] == "0" and _LEADING_ZERO.fullmatch(cell)
    )
    return with_zero >= max(1, MIN_CODES * int(written.counts.sum()))


def _numeric_id_reason(name: str, filled: Array) -> str:
    """Return why a column of numbers is an id, or ""."""
    if len(filled) < MIN_ROWS_OF_ID or filled[0] == filled[1]:
        return ""
    steps = np.diff(filled)
    if filled[0] % 1 == 0 and (steps == 1).all():
        return COUNTER_REASON
    # rows without a target, and damaged ones, are left out before this
    has_gaps = (steps % 1 == 0).all() and steps.min() >= 1 and (steps == 1).mean() >= MIN_COUNTED
    if has_gaps and filled[0] % 1 == 0 and filled[0] <= LATEST_START:
        return COUNTER_REASON
    if not (_ID_NAME.search(name) or _ID_SUFFIX.search(name)):
        return ""
    if (filled % 1 != 0).any() or len(np.unique(filled)) < len(filled):
        return ""
    return ID_REASON


def _truth_words(words: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """Return the words of true and of false, in lower case; None if a column has others, or only numbers."""
    distinct = {word.lower() for word in words}
    if len(distinct) > 8 or not distinct <= TRUE_WORDS | FALSE_WORDS or distinct <= {"0", "1"}:
        return None
    true_words, false_words = _split_truths(words)
    return (true_words, false_words) if true_words and false_words else None


def _split_truths(words: Sequence[str]) -> tuple[list[str], list[str]]:
    distinct = sorted({word.lower() for word in words})
    return [word for word in distinct if word in TRUE_WORDS], [
        word for word in distinct if word in FALSE_WORDS
    ]


def _type_of_words(cells: pd.Series[Any], words: Sequence[str], written: WrittenColumn) -> str:
    """Return the type of a column of texts; a column of ids is dropped."""
    filled = int(cells.notna().sum())
    distinct_share = len(words) / max(1, filled)
    probes = words[:: max(1, len(words) // 1000)]
    words_per_cell = sum(len(word.split()) for word in probes) / len(probes)
    has_sentences = words_per_cell >= 2.5 or _are_unspaced(probes)
    if has_sentences and distinct_share > 0.3 and len(words) > 30:
        return TEXT
    return CATEGORY if distinct_share <= 0.95 or filled < MIN_ROWS_OF_ID else DROP


def _are_unspaced(probes: Sequence[str]) -> bool:
    """Whether cells are sentences of a script without blanks between words, such as Chinese."""
    return share_unspaced(probes) > 0.3 and sum(map(len, probes)) >= 8 * len(probes)
