"""The type of one column: its cells are read as numbers and dates, and then it becomes a `TableColumn`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables import date_columns, number_columns
from mlctl.data.tables.column_types import (
    BOOLEAN,
    CATEGORY,
    DATE,
    DROP,
    MIN_SHARE_OF_SET_TYPE,
    NUMBER,
    TEXT,
    TYPES,
    ReadingOptions,
    TableColumn,
    set_option,
)
from mlctl.data.tables.convert_cells import as_booleans, encode_texts, normalize_cells
from mlctl.data.tables.date_columns import DateFormat, detect_date_format
from mlctl.data.tables.guess_types import (
    ID_REASON,
    are_codes,
    numeric_id_reason,
    split_truths,
    truth_words,
    type_of_words,
)
from mlctl.data.tables.number_columns import MAX_KEPT_WORDS, NumberColumn, WrittenColumn
from mlctl.data.tables.number_remarks import how_numbers_are_read, missing_numbers
from mlctl.domain.column_reading import ColumnReading, as_text
from mlctl.domain.missing_values import MISSING_WORDS, is_number_gap
from mlctl.domain.short_texts import list_some
from mlctl.errors import UsageError
from mlctl.serving.scoring import FALSE_WORDS, ISO_DATE, TRUE_WORDS, DateParser

if TYPE_CHECKING:
    import pandas as pd

MIN_FLAGS, MIN_SHARE_OF_FLAGS = 5, 0.005  # filled and empty cells of a flag that is empty or not
MAX_KEPT_CATEGORIES = 1000  # of a column, to tell a new one

Array = np.ndarray[Any, Any]


class ColumnDraft:
    """A column whose type is being detected.

    Attributes:
        values: Its cells: float64 with NaN, objects of true, false and None, or stripped texts with None.
        written: The different texts, of a column of texts.
        numbers: The numbers in a column of texts, if it holds any.
        dates: The format of its dates.
        decimal: The sign before decimals in most columns of the table.
    """

    def __init__(self, name: str, options: ReadingOptions) -> None:
        self.name = name
        self.set_type = options.types.get(name)
        self.set_format = options.date_formats.get(name, "")
        if self.set_format and self.set_type is None:
            self.set_type = DATE
        self.is_set = self.set_type is not None
        self.sentinels: tuple[float, ...] = ()
        self.finds_sentinels = options.finds_sentinels
        self.values: Any = None
        self.written: WrittenColumn | None = None
        self.numbers: NumberColumn | None = None
        self.dates = DateFormat()
        self.decimal = "."
        self.is_lists = False

    @classmethod
    def of(cls, name: str, values: pd.Series[Any], options: ReadingOptions) -> ColumnDraft:
        """Return the draft of a column as a reader returns it."""
        draft = cls(name, options)
        if draft.set_type == DROP:
            draft.values = values
            return draft
        if (texts := encode_texts(values)) is not None:
            draft.values, draft.written = texts.series(values), WrittenColumn.of_texts(texts)
            return draft
        booleans = as_booleans(values)
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
        return [
            cell for cell in self.word_cells() if not (is_number_gap(cell) or date_columns.is_no_date(cell))
        ]

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
        if reason := numeric_id_reason(self.name, filled):
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
            and not are_codes(self.written)
        ):
            finite = self.numbers.values[np.isfinite(self.numbers.values)]
            if finite.min() == finite.max():
                return self._finish_single(len(self.numbers.values) - len(finite), self._first_word())
            has_unit = bool(self.numbers.reading.unit)
            if not has_unit and (reason := numeric_id_reason(self.name, finite)):
                return self._dropped(reason, len(self.numbers.values) - len(finite))
            return self._finish_numbers(NUMBER)
        cells = self._word_values()
        words = self.word_cells()
        missing = self._count_missing()
        if len(words) <= 1:
            return self._finish_single(missing, words[0] if words else "")
        if self.dates.format:
            return self._finish_dates()
        if truths := truth_words(words):
            return self._finish_truths(cells, *truths)
        type = type_of_words(words, filled=len(self.values) - missing) if not self.is_lists else TEXT
        if (
            type == DROP
            and self.numbers is not None
            and self.numbers.share > MIN_SHARE_OF_SET_TYPE
            and not are_codes(self.written)
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
            return self._finish_truths(cells, *split_truths(words))
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
        self._write_numbers()
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
            reading, remarks, question = (
                self.numbers.reading,
                (*how_numbers_are_read(self.numbers), *missing_numbers(self.numbers)),
                "",
            )
        else:
            values, question, remarks = self.values, "", ()
            reading = number_columns.with_range(
                ColumnReading(kind=NUMBER, decimal=self.decimal), values.to_numpy()
            )
        if self.sentinels:
            values = values.where(~values.isin(self.sentinels))
            reading = replace(number_columns.with_range(reading, values.to_numpy()), sentinels=self.sentinels)
            shown = " and ".join(map(as_text, sorted(self.sentinels)))
            verb, kept = ("is", "it as a number") if len(self.sentinels) == 1 else ("are", "them as numbers")
            remarks = (
                *remarks,
                f"{shown} {verb} read as missing (to keep {kept}: --set sentinels=false)",
            )
        return values, TableColumn(
            name=self.name,
            type=type,
            missing=int(values.isna().sum()),
            reading=reading,
            remarks=remarks,
            question=question,
        )

    def _finish_dates(self) -> tuple[Any, TableColumn]:
        """Return a column of dates in one format; a cell in another format counts as missing."""
        self._write_numbers()
        assert self.written is not None
        parser = DateParser(self.dates.format)
        no_dates = {
            cell for cell in self.written.cells if self.finds_sentinels and date_columns.is_no_date(cell)
        }
        is_date = np.array(
            [*(cell not in no_dates and parser(cell) is not None for cell in self.written.cells), False]
        )
        words = [
            cell for cell, is_read in zip(self.written.cells, is_date, strict=False)
            if not is_read and cell not in MISSING_WORDS
        ]  # fmt: skip
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
                f" (to change: {set_option(f'date.{self.name}', other)})"
            )
        return values, TableColumn(
            name=self.name,
            type=DATE,
            missing=int((~mask).sum()),
            format=self.dates.format,
            reading=ColumnReading(
                kind=DATE, date_format=self.dates.format, gap_words=tuple(words[:MAX_KEPT_WORDS])
            ),
            remarks=(*(() if other else (remark,)), *_missing_words(words)),
            question=question,
        )

    def _write_numbers(self) -> None:
        """Turn numbers into texts, for columns of dates."""
        if self.is_number:
            texts = self.values.map(as_text, na_action="ignore").astype(object)
            self.values = texts.where(texts.notna(), None)
            self.written = WrittenColumn.of(self.values)

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
        missing = self._count_missing()
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
            gap_words = (*self.numbers.gaps, *self.numbers.words)[:MAX_KEPT_WORDS]
            reading = replace(reading, gap_words=gap_words)
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
        assert self.written is not None
        is_missing = np.array([*(cell in MISSING_WORDS for cell in self.written.cells), False])
        return self.values.where(~is_missing[self.written.codes], None) if is_missing.any() else self.values

    def _count_missing(self) -> int:
        """Return the number of cells that are empty or hold a word for a missing value."""
        assert self.written is not None
        counts = zip(self.written.cells, self.written.counts.tolist(), strict=True)
        filled: int = sum(count for cell, count in counts if cell not in MISSING_WORDS)
        return len(self.values) - filled

    def _first_word(self) -> str:
        words = self.word_cells()
        return words[0] if words else ""

    def _remarks_of_words(self, type: str) -> tuple[str, ...]:
        if self.is_lists:
            return ("lists, read as texts",)
        if type == CATEGORY and self.written is not None and are_codes(self.written):
            return ("numbers that begin with 0 are codes, read as categories",)
        return ()

    def _mixed_units(self) -> str:
        if self.numbers is None or not self.numbers.mixed:
            return ""
        units = " and ".join(self.numbers.mixed[:3])
        return (
            f"{self.name}: {units} cannot be converted into each other, so the cells are read as words"
            f" (to ignore the units: {set_option(f'column.{self.name}', NUMBER)})"
        )


def _reading_of_words(type: str, words: Sequence[str]) -> ColumnReading:
    known = tuple(sorted(words)) if type == CATEGORY and len(words) <= MAX_KEPT_CATEGORIES else ()
    return ColumnReading(kind=type, categories=known)


def _read_any_number(written: WrittenColumn) -> NumberColumn:
    """Return the numbers of a column whatever units they have."""
    decimal, thousands, is_guess = number_columns.decide_signs({"": written.look()})[""]
    return written.read(decimal, thousands, is_ambiguous=is_guess, ignores_units=True)


def _missing_words(words: Sequence[str]) -> tuple[str, ...]:
    """Return a remark about cells that are no dates."""
    if not words:
        return ()
    return (f"{list_some(words, 3)} {'is' if len(words) == 1 else 'are'} read as missing",)


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
