"""Columns of numbers, however people write them: how to read them is decided over the whole column and table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables.convert_cells import EncodedTexts, normalize_cells
from mlctl.domain import number_forms
from mlctl.domain.column_reading import NUMBER, ColumnReading
from mlctl.domain.missing_values import is_number_gap
from mlctl.domain.units import are_flags, find_units, is_known_unit
from mlctl.domain.written_numbers import (
    WrittenNumber,
    ambiguous_sign,
    evidence,
    may_be_bound,
    split_number,
    to_float,
)

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = 5000  # different cells that decide on signs and units; each other cell is read with what they say
PROBES = 200
MIN_SHARE = 0.97  # of the filled cells must be numbers; the others count as missing
MIN_SHARE_WITH_WORDS, MAX_WORDS = 0.5, 3  # a column of numbers may hold a few different words, more often
MIN_NUMBERS_BESIDE_WORDS, MIN_NUMBERS_WITH_UNIT = 20, 3
# more bounds than that, and few other numbers, are categories, such as "<=50K" and ">50K"
MAX_BOUNDS, MIN_NUMBERS_BESIDE_BOUNDS = 0.5, 10
MAX_KEPT_WORDS = 50  # words among numbers that the model knows as missing values
RARE_UNIT = 0.03
MIN_SENTINELS, MIN_SENTINEL_SHARE = 3, 0.002
MIN_FILL_VALUE = 1e15  # larger numbers, such as 1e20, fill gaps in scientific data

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class NumberColumn:
    """A column of texts that holds numbers.

    Attributes:
        reading: How its cells are read.
        values: The numbers, (n,) float64 with NaN.
        share: Share of numbers among the cells that are filled and no gap words.
        units: The units beside its numbers with their number of cells.
        bounds: Number of cells with a bound such as "<0.5".
        bound: One of these cells.
        gaps: Words for a missing value with their number of cells, without those that every table has.
        words: Other words with their number of cells; they count as missing, too.
        forms: A cell of each form of `number_forms` that there is.
        mixed: Units that cannot be converted into each other; then `values` are NaN.
        is_spaced: A number has spaces or apostrophes between thousands.
        is_ambiguous: No cell says whether a comma or a point stands before decimals or between thousands.
    """

    reading: ColumnReading
    values: Array
    share: float
    units: Mapping[str, int] = field(default_factory=dict)
    bounds: int = 0
    bound: str = ""
    gaps: Mapping[str, int] = field(default_factory=dict)
    words: Mapping[str, int] = field(default_factory=dict)
    forms: Mapping[str, str] = field(default_factory=dict)
    mixed: tuple[str, ...] = ()
    is_spaced: bool = False
    is_ambiguous: bool = False

    @property
    def is_number(self) -> bool:
        """Whether so many cells are numbers that the column is one of numbers."""
        if self.mixed or not np.isfinite(self.values).any():
            return False
        distinct = len(np.unique(self.values[np.isfinite(self.values)]))
        if number_forms.REMARK in self.forms and distinct < MIN_NUMBERS_BESIDE_WORDS:
            return False  # such as "1 (low)" and "2 (high)"
        if self.share >= MIN_SHARE:
            return True
        has_few_words = len(self.words) <= MAX_WORDS and distinct >= MIN_NUMBERS_BESIDE_WORDS
        return self.share >= MIN_SHARE_WITH_WORDS and has_few_words


@dataclass(kw_only=True)
class WrittenColumn:
    """The different cells of a column, and what they say about its numbers.

    Attributes:
        codes: The place of each row's cell in `cells`, (n,) int; -1 for a missing one.
        cells: The different cells.
        counts: How often each occurs, (cells,) int.
        is_spaced: A number has spaces or apostrophes between thousands.
    """

    codes: Array
    cells: list[str]
    counts: Array
    is_spaced: bool = False
    _numbers: dict[str, WrittenNumber] = field(default_factory=dict)

    @classmethod
    def of(cls, values: pd.Series[Any]) -> WrittenColumn:
        """Return the different cells of a column of stripped texts with None."""
        import pandas as pd

        codes, cells = pd.factorize(values)
        return cls.of_texts(EncodedTexts(codes, list(cells)))

    @classmethod
    def of_texts(cls, texts: EncodedTexts) -> WrittenColumn:
        """Return the different cells of a column of texts."""
        counts = np.bincount(texts.codes[texts.codes >= 0], minlength=len(texts.cells))
        return cls(codes=texts.codes, cells=texts.cells, counts=counts)

    def may_be_numbers(self) -> bool:
        """Whether a quick look at some cells finds numbers."""
        probes = self.cells[:: max(1, len(self.cells) // PROBES)]
        words = [cell for cell in probes if not is_number_gap(cell)]
        numbers = sum(split_number(cell) is not None for cell in words)
        return bool(words) and numbers >= 0.4 * len(words)

    def look(self) -> tuple[Counter[str], Counter[str]]:
        """Return what the numbers say about the sign before decimals and that between thousands, by rows.

        Signs that may be either are counted under "?," and "?." of the first. Whole numbers without signs are counted
        under "small" (up to 999) and "large" of the second.
        """
        decimals: Counter[str] = Counter()
        groups: Counter[str] = Counter()
        for place in self._sample():
            cell, count = self.cells[place], int(self.counts[place])
            written = split_number(cell)
            if written is None or to_float(written.body, ".", ",.") is None:
                continue
            self._numbers[cell] = written
            if not self.is_spaced and _SPACED.search(cell):
                self.is_spaced = True
            decimal, group = evidence(written.body)
            decimals[decimal] += count
            groups[group] += count
            if sign := ambiguous_sign(written.body):
                decimals[f"?{sign}"] += count
            elif written.body.isdigit():
                groups["large" if len(written.body) > 3 else "small"] += count
        return decimals, groups

    def _sample(self) -> Iterable[int]:
        """Return the places of cells that decide: all with a comma, or else some over the whole column."""
        if len(self.cells) <= SAMPLE:
            return range(len(self.cells))
        step = len(self.cells) // SAMPLE
        with_comma = [place for place, cell in enumerate(self.cells) if "," in cell]
        return sorted({*range(0, len(self.cells), step), *with_comma[:: max(1, len(with_comma) // SAMPLE)]})

    def read(
        self, decimal: str, thousands: str, *, is_ambiguous: bool, ignores_units: bool = False
    ) -> NumberColumn:
        """Return the numbers, read with this decimal sign and this sign between thousands.

        Without `ignores_units`, a column has no numbers if their units cannot be converted into each other.
        """
        usual = ColumnReading(kind=NUMBER, decimal=decimal, thousands=thousands)
        units: Counter[str] = Counter()
        for cell, written in self._numbers.items():
            units[written.unit] += int(self.counts[self._places[cell]])
        if len(self._numbers) > 1 and all(cell[0] == "(" for cell in self._numbers):
            usual = replace(usual, brackets_are_plain=True)
        total = sum(units.values())
        common = {unit: count for unit, count in units.items() if count >= RARE_UNIT * total or not unit}
        if ignores_units:
            reading = replace(usual, factors=dict.fromkeys(("", *units), 1.0))
            return self._values(reading, units=units, is_ambiguous=is_ambiguous)
        found = find_units(common)
        factors: Mapping[str, float] = {"": 1.0}
        if found is None or not (are_flags(common) or self._are_units(common)):
            named = [unit for unit in sorted(common, key=lambda unit: -common[unit]) if unit]
            mixed = tuple(named) if found is None and all(map(is_known_unit, named)) else ()
            return NumberColumn(
                reading=usual, values=np.full(len(self.codes), np.nan), share=0.0, mixed=mixed
            )
        factors, unit = found.factors, found.base
        takes_factors = {name: factor for name, factor in factors.items() if name}
        reading = replace(usual, factors=factors if takes_factors else {}, unit=unit)
        return self._values(reading, units=units, is_ambiguous=is_ambiguous)

    def _are_units(self, units: Mapping[str, int]) -> bool:
        """Whether what stands beside the numbers are units: they are known, or one word beside several numbers."""
        unknown = [unit for unit in units if unit and not is_known_unit(unit)]
        if not unknown:
            return True
        needed = MIN_NUMBERS_WITH_UNIT if all(len(unit) > 1 for unit in unknown) else MIN_NUMBERS_BESIDE_WORDS
        bodies = {written.body for written in self._numbers.values() if written.unit in unknown}
        return len(bodies) >= needed

    def _values(self, reading: ColumnReading, *, units: Counter[str], is_ambiguous: bool) -> NumberColumn:
        by_cell = np.full(len(self.cells) + 1, np.nan)  # the last one is for missing cells
        gaps: dict[str, int] = {}
        words: dict[str, int] = {}
        bounds, bound, bound_cells, plain = 0, "", 0, 0
        needs_texts = bool(reading.factors or reading.thousands or reading.decimal != ".")
        counts = self.counts.tolist()
        for place, cell in enumerate(self.cells):
            number = reading.read_number(cell)
            if number is None:
                kind = gaps if is_number_gap(cell) else words
                kind[cell] = counts[place]
                continue
            by_cell[place] = number
            if may_be_bound(cell):
                written = self._numbers.get(cell) or split_number(cell)
                if written is not None and written.is_bound:
                    bound_cells += 0 if "+" in cell else counts[place]
                    bounds, bound = bounds + counts[place], bound or cell
                    needs_texts, plain = True, plain - 1
            plain += 1
            needs_texts = needs_texts or _needs_text(cell)
        numbers = int(self.counts[np.isfinite(by_cell[:-1])].sum())
        others = sum(words.values())
        share = numbers / max(1, numbers + others)
        if bound_cells > MAX_BOUNDS * max(1, numbers) and plain < MIN_NUMBERS_BESIDE_BOUNDS:
            share = 0.0
        forms = {written.form: cell for cell, written in reversed(self._numbers.items()) if written.form}
        kept_words = sorted(words, key=lambda word: -words[word])[:MAX_KEPT_WORDS]
        reading = replace(
            reading,
            gap_words=tuple(kept_words),
            takes_texts=needs_texts or bool(forms or words) or any(map(str.strip, gaps)),
        )
        values: Array = by_cell[self.codes]
        own_gaps = {word: count for word, count in gaps.items() if word not in _EVERYWHERE}
        return NumberColumn(
            reading=with_range(reading, values),
            values=values,
            share=share,
            units={unit: count for unit, count in units.items() if unit},
            bounds=bounds,
            bound=bound,
            gaps=own_gaps,
            words=words,
            forms=forms,
            is_spaced=self.is_spaced,
            is_ambiguous=is_ambiguous,
        )

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {cell: place for place, cell in enumerate(self.cells)}


_EVERYWHERE = frozenset(
    {"", "NA", "N/A", "n/a", "NULL", "null", "NaN", "nan", "None", "<NA>", "na", "Na", "?", "-"}
)


_SPACED = re.compile(r"[0-9][\s'’`´][0-9]")


def _needs_text(cell: str) -> bool:
    """Whether JSON has no number of this form."""
    return (
        not cell.isascii()
        or any(sign in cell for sign in "() ',")
        or not (cell[-1].isdigit() or cell[-1] == ".")
    )


def with_range(reading: ColumnReading, values: Array) -> ColumnReading:
    """Return a reading with the range of its column's numbers."""
    if not len(values) or not np.isfinite(values).any():
        return reading
    size = np.abs(values)
    return replace(reading, low=float(np.nanmin(size)), high=float(np.nanmax(size)))


def decide_signs(
    looks: Mapping[str, tuple[Counter[str], Counter[str]]], *, has_points: bool = False
) -> dict[str, tuple[str, str, bool]]:
    """Return the sign before decimals, that between thousands, and whether this is a guess, for each column.

    A column whose cells do not say it, such as one of "1,234" alone, follows the others of the table. `has_points`
    says that these have numbers with a point before decimals, besides the columns here.
    """
    clear = {name: sign for name, look in looks.items() if (sign := _clear_decimal(*look))}
    votes = Counter(clear.values())
    votes["."] += has_points
    usual = "," if votes[","] > votes["."] else "."
    decided = {}
    for name, (decimals, groups) in looks.items():
        decimal = clear.get(name, usual)
        if name not in clear and not votes["."] and _has_point_groups(decimals, groups):
            decimal = ","
        other = "." if decimal == "," else ","
        has_groups = groups[other] or decimals[f"?{other}"]
        is_guess = name not in clear and not votes.total() and bool(decimals["?,"])
        decided[name] = decimal, other if has_groups else "", is_guess
    return decided


def _clear_decimal(decimals: Counter[str], groups: Counter[str]) -> str:
    """Return the sign before decimals that a column's own cells say, or ""."""
    comma, point = decimals[","] + groups["."], decimals["."] + groups[","]
    return "" if comma == point else "," if comma > point else "."


def _has_point_groups(decimals: Counter[str], groups: Counter[str]) -> bool:
    """Whether points stand between thousands: three digits follow each, and no larger number is without one."""
    return (
        decimals["?."] >= MIN_NUMBERS_WITH_UNIT
        and groups["small"] > 0
        and not groups["large"]
        and not decimals["."]
    )


def table_decimal(decided: Mapping[str, tuple[str, str, bool]]) -> str:
    """Return the decimal sign of most columns of texts; "." if there are none."""
    votes = Counter(decimal for decimal, _, _ in decided.values())
    return "," if votes[","] > votes["."] else "."


def find_sentinels(columns: Mapping[str, Array]) -> dict[str, tuple[float, ...]]:
    """Return the numbers that stand for a missing value in each column that has some.

    They are numbers such as -999 or 9999 that stand far outside all others and repeat. 777 and 999 together are two of
    them ("refused" and "not known"). A negative one that is found in one column also counts in others that are never
    negative otherwise.
    """
    found: dict[str, tuple[float, ...]] = {}
    maybe: dict[str, float] = {}
    for name, values in columns.items():
        if not len(values):
            continue
        for candidates in _candidates(values):
            verdict = _judge(values, candidates)
            if verdict == "sure":
                found[name] = (*found.get(name, ()), *candidates)
            elif verdict == "maybe":
                maybe.setdefault(name, candidates[0])
    known = {value for values in found.values() for value in values}
    return found | {
        name: (value,) for name, value in maybe.items() if name not in found and value in known and value < 0
    }


def _candidates(values: Array) -> Iterable[tuple[float, ...]]:
    """Return the lowest and the highest number if people write them for a missing value, with their companions."""
    with np.errstate(invalid="ignore"):
        low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
        if _is_typical(low):
            yield (low,)
        if not _is_typical(high) or high == low:
            return
        below = values[values < high]
        second = float(np.fmax.reduce(below)) if len(below) else high
    digits = str(int(high)) if high % 1 == 0 else ""
    are_codes = len(digits) > 1 and set(digits) == {"9"}
    companions = (
        {float(digits.replace("9", "7")), float(digits.replace("9", "8")), high - 1} if are_codes else set()
    )
    yield (high, second) if second in companions else (high,)


def _is_typical(number: float) -> bool:
    """Whether people write this number for a missing value: 99, 999, -999, -9999, -200, -999.25 and the like."""
    if not np.isfinite(number):
        return False
    if abs(number) >= MIN_FILL_VALUE:
        return True
    if number % 1:
        digits = f"{abs(number):.6g}".replace(".", "")
        return number in (-999.25, -9999.25) or (not digits.strip("9") and abs(number) > 90)
    digits = str(int(abs(number)))
    if set(digits) == {"9"} and len(digits) >= 2:
        return True
    if number < 0:
        return (abs(number) >= 100 and set(digits[1:]) == {"0"}) or digits in ("32768", "2147483648")
    return digits in ("32767", "2147483647", "8888", "88888", "7777")


def _judge(values: Array, candidates: tuple[float, ...]) -> str:
    """Return "sure", "maybe" or "" for whether numbers stand for a missing value in a column."""
    filled = values[np.isfinite(values)]
    is_candidate = np.isin(filled, candidates)
    count, others = int(is_candidate.sum()), filled[~is_candidate]
    if count < max(MIN_SENTINELS, MIN_SENTINEL_SHARE * len(filled)) or len(others) < MIN_SENTINELS:
        return ""
    low, high = float(others.min()), float(others.max())
    spread = high - low
    if spread <= 0 or (len(others) < 1000 and len(np.unique(others)) < MIN_SENTINELS):
        return ""
    lowest = min(candidates)
    distance = low - lowest if lowest < low else lowest - high
    if distance > spread or (lowest < 0 <= low and distance > 0.5 * spread):
        return "sure"
    return "maybe" if lowest < 0 <= low else ""


def read_numbers(values: pd.Series[Any], table: pd.DataFrame | None = None) -> NumberColumn | None:
    """Return the numbers of one column, such as a target; None if it has too few.

    The other columns of its `table` decide which sign stands before decimals if the column leaves it open.
    """
    cells = normalize_cells(values)
    if cells.dtype.kind == "f":
        array = cells.to_numpy()
        return NumberColumn(reading=with_range(ColumnReading(kind=NUMBER), array), values=array, share=1.0)
    written = WrittenColumn.of(cells)
    if not written.may_be_numbers():
        return None
    looked = {str(values.name): written.look()}
    has_points = False
    is_clear = bool(_clear_decimal(*looked[str(values.name)]))
    columns = {} if table is None or is_clear else {str(name): table[name] for name in table}
    for name, column in columns.items():
        if name in looked:
            continue
        others = normalize_cells(column)
        if others.dtype.kind == "f":
            has_points = has_points or has_fractions(others.to_numpy())
        elif (other := WrittenColumn.of(others)).may_be_numbers():
            looked[name] = other.look()
    decided = decide_signs(looked, has_points=has_points)
    decimal, thousands, is_guess = decided[str(values.name)]
    return written.read(decimal, thousands, is_ambiguous=is_guess)


def has_fractions(values: Array) -> bool:
    """Whether some of the first numbers have decimals."""
    with np.errstate(invalid="ignore"):
        return bool((values[:1000] % 1 > 0).any())
