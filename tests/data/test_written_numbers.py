"""Numbers as people write them: their parts, signs and units."""

from __future__ import annotations

from typing import Any

import pytest

from mlctl.domain.column_reading import ColumnReading
from mlctl.domain.units import find_units
from mlctl.domain.written_numbers import evidence, split_number, to_float

pytestmark = pytest.mark.unit

NUMBERS: dict[str, tuple[float, str]] = {
    "12,500 km": (12500, "km"), "1.4kg": (1.4, "kg"), "₹4,50,000": (450000, "₹"), "CHF 1'234.50": (1234.5, "CHF"),
    "41\u202f654.5": (41654.5, ""), "1\u00a0234": (1234, ""), "1 234 567": (1234567, ""), "1’234": (1234, ""),
    "(1,234.50)": (-1234.5, ""), "($5)": (-5, "$"), "$(5.00)": (-5, "$"), "-$5": (-5, "$"), "$-5": (-5, "$"),
    "5-": (-5, ""), "−5": (-5, ""), "12.-": (12, ""), "EUR 12,-": (12, "EUR"), "+5": (5, ""), "$5": (5, "$"),
    "<0.5": (0.5, ""), "> 100": (100, ""), "≤3": (3, ""), "~7": (7, ""), "10+ years": (10, "years"), "10,000+": (10000, ""),
    "< 1 year": (1, "year"), "1e-3": (0.001, ""), "1.5E6 km": (1.5e6, "km"), "50%": (50, "%"), "5 %": (5, "%"),
    "100 m²": (100, "m²"), "30 m3": (30, "m3"), "20 °C": (20, "°C"), "1st": (1, "st"), "1.234.567,8": (1234567.8, ""),
    "23.59 kmpl": (23.59, "kmpl"), "US$5": (5, "US$"), "Rs. 500": (500, "Rs."), "1.5 km/h": (1.5, "km/h"), ".5": (0.5, ""),
    "5.": (5, ""), "00012": (12, ""), "12,5": (12.5, ""), "1,234.5": (1234.5, ""), "Fr. 1’234.–": (1234, "Fr."),
    "2h 50m": (170, "m"), "1 h 30 min": (90, "min"), "5'11\"": (71, "in"), "6’2": (74, "in"), "5 ft 11 in": (71, "in"),
    "12 lbs 3 oz": (195, "oz"), "1 year 2 months": (14, "months"), "9:30": (570, "s"), "1:20.5": (80.5, "s"),
    "-2:05:31": (-7531, "s"), "3 days 04:00:00": (273600, "s"), "1 day, 0:02:03": (86523, "s"), "PT1H30M": (5400, "s"),
    "P3DT2S": (259202, "s"), "4.1/5": (4.1, "/5"), "4 out of 10": (4, "/10"), "12.3 ± 0.4": (12.3, ""), "1.5 kg ± 0.1 kg": (1.5, "kg"),
    "5 (est)": (5, ""), "12 (5%)": (12, ""), "1,234[5]": (1234, ""), "12.5*": (12.5, ""), "3 kg**": (3, "kg"), "under 1": (1, ""),
    "Less than $40K": (40, "$ K"), "4.2 x10^9/L": (4.2, "x10^9/L"), "85 years and over": (85, "years"), "über 90": (90, ""), "5\u200b": (5, ""), "\ufeff7.5": (7.5, ""),
    "5,00- €": (-5, "€"), "45,- €": (45, "€"), "￥1,200.50": (1200.5, "¥"), "１２．５": (12.5, ""), "٤٢": (42, ""), "4.3 out of 5 stars": (4.3, "/5"),
    "Rated 4.5 out of 5": (4.5, "/5"), "5y 3m": (63, "months"),
    "5,2 l/100 km": (5.2, "l/100 km"), "90 g CO2/km (comb.)": (90, "g CO2/km"), "12 kWh/100km": (12, "kWh/100km"),
}  # fmt: skip
NO_NUMBERS = (
    "", "-", "--5", "ABC", "A12", "Room 12", "10-20", "5'13", "12 34", "1,2,3", "3:1", "9:75", "PT", "2019-01-02", "inf", "1_000", "0x10",
    "1e5.5", "192.168.0.1", "$ 5 - 10", "3 x 4", "3 (", "2h 3kg", "30m 2h", "(5", "5)", "1.#INF", "1,234.567.890", "(-5)",
    "20.02.2019", "4x4", "true",
)  # fmt: skip


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_split(text: str) -> None:
    written = split_number(text)
    assert written is not None
    value = to_float(written.body, ".", ",")
    assert value is not None
    sign = -1 if written.is_negative else 1
    assert (sign * value * float("1" + written.exponent), written.unit) == NUMBERS[text]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_other_cells_are_no_numbers(text: str) -> None:
    written = split_number(text)
    assert written is None or to_float(written.body, ".", ",") is None


@pytest.mark.parametrize(
    ("body", "signs"),
    [
        ("1,234", ("", "")),
        ("1.234", ("", "")),
        ("12,5", (",", "")),
        ("0,125", (",", "")),
        ("1234,567", (",", "")),
        ("1,234.5", (".", ",")),
        ("1.234,5", (",", ".")),
        ("1,234,567", (".", ",")),
        ("1.234.567", (",", ".")),
        ("1234", ("", "")),
    ],
)
def test_what_a_number_says_about_signs(body: str, signs: tuple[str, str]) -> None:
    assert evidence(body) == signs


@pytest.mark.parametrize(
    ("counts", "factors", "base"),
    [
        ({"km": 9, "m": 3}, {"km": 1, "m": 0.001}, "km"),
        ({"kg": 5, "g": 4, "": 2}, {"kg": 1, "g": 0.001}, "kg"),
        ({"years": 3, "year": 1}, {"years": 1, "year": 1}, "years"),
        ({"GB": 4, "TB": 1}, {"GB": 1, "TB": 1024}, "GB"),
        ({"M": 4, "k": 2}, {"M": 1e6, "k": 1e3}, ""),
        ({"m": 4}, {"m": 1}, "m"),
        ({"€ m": 4, "€ k": 2}, {"€ m": 1e6, "€ k": 1e3}, "€"),
        ({"k€": 4}, {"k€": 1e3}, "€"),
        ({"Mio. €": 4}, {"Mio. €": 1e6}, "€"),
        ({"lakh": 4, "crore": 2}, {"lakh": 1e5, "crore": 1e7}, ""),
        ({"$": 4, "USD": 2}, {"$": 1, "USD": 1}, "$"),
        ({"st": 1, "nd": 1, "th": 5}, {"st": 1, "nd": 1, "th": 1}, "th"),
        ({"%": 4, "": 5}, {"%": 1}, "%"),
        ({"m": 4, "h": 2}, {"m": 1, "h": 60}, "m"),
        ({"sqft": 4, "sq. ft.": 2, "Sq Ft": 1}, {"sqft": 1, "sq. ft.": 1, "Sq Ft": 1}, "sqft"),
        ({"N": 4, "S": 2}, {"N": 1, "S": -1}, "±"),
        ({"° E": 4, "° W": 2}, {"° E": 1, "° W": -1}, "±"),
        ({"CR": 4, "Dr": 2}, {"CR": 1, "Dr": -1}, "±"),
        ({"": 9, "b": 2, "e": 1}, {"b": 1, "e": 1}, ""),
    ],
)
def test_units_are_converted(counts: dict[str, int], factors: dict[str, float], base: str) -> None:
    found = find_units(counts)
    assert found is not None
    assert {unit: factor for unit, factor in found.factors.items() if unit} == factors
    assert found.base == base


@pytest.mark.parametrize(
    "counts",
    [
        {"$": 4, "€": 3},
        {"°C": 4, "°F": 1},
        {"km": 3, "kg": 2},
        {"A": 2, "B": 2},
        {"": 2, "b": 2, "e": 3},
        {"": 9, "m": 2, "g": 1},
    ],
)
def test_other_units_are_not(counts: dict[str, int]) -> None:
    assert find_units(counts) is None


GERMAN = ColumnReading(kind="number", decimal=",", thousands=".", factors={"": 1.0, "km": 1.0}, unit="km")
SMALL = ColumnReading(kind="number", low=0.5, high=9.0)
MEASURED = ColumnReading(kind="number", sentinels=(-999.0,), takes_texts=True)


@pytest.mark.parametrize(
    ("reading", "cell", "value"),
    [
        (GERMAN, "1.234", 1234),
        (GERMAN, "1.642,10", 1642.1),
        (GERMAN, "12.5", 12.5),
        (GERMAN, "500 m", 0.5),
        (GERMAN, "-3,5 km", -3.5),
        (GERMAN, "3 kg", None),
        (GERMAN, 7, 7),
        (SMALL, "1,234", 1.234),
        (SMALL, "12,5", 12.5),
        (SMALL, "5 km", None),
        (SMALL, "$5", 5),
        (SMALL, "10%", 10),
        (SMALL, "1e400", None),
        (ColumnReading(kind="number", low=100.0, high=9000.0), "1,234", 1234),
        (MEASURED, "-999", None),
        (MEASURED, "ND", None),
        (MEASURED, "<3", 3),
        (ColumnReading(kind="number", gap_words=("Exempt",), takes_texts=True), "Exempt", None),
        (ColumnReading(kind="number", brackets_are_plain=True), "(1994)", 1994),
        (ColumnReading(kind="number"), "(1994)", -1994),
        (ColumnReading(kind="date", date_format="%d.%m.%Y"), "2019-02-20", "20.02.2019"),
        (
            ColumnReading(kind="date", date_format="%B %d, %Y"),
            "2019-02-20T23:00:00-05:00",
            "February 21, 2019",
        ),
        (ColumnReading(kind="date", date_format="%Y-%d-%m"), "2019-02-20", "2019-02-20"),
        (ColumnReading(kind="date", date_format="ISO8601", gap_words=("9999-12-31",)), "9999-12-31", None),
        (ColumnReading(kind="category"), "?", None),
        (ColumnReading(kind="category"), " red ", "red"),
        (ColumnReading(kind="category"), 5.0, "5"),
        (ColumnReading(kind="boolean", true_words=("x",), blank_is_false=True), "X", True),
        (ColumnReading(kind="boolean", true_words=("x",), blank_is_false=True), "", False),
        (ColumnReading(kind="boolean", true_words=("x",), blank_is_false=True), None, False),
        (ColumnReading(kind="boolean", true_words=("x",), blank_is_false=True), "z", None),
    ],
)
def test_a_reading_reads_cells(reading: ColumnReading, cell: Any, value: Any) -> None:
    assert reading.read_cell(cell) == value
    assert ColumnReading.from_json(reading.to_json()) == reading


def test_gaps_are_told_from_other_cells() -> None:
    assert [MEASURED.is_gap(cell) for cell in (None, "", "n.a.", "ND", "-999", "soon", "5")] == [True] * 5 + [
        False
    ] * 2
    assert [ColumnReading(kind="category").is_gap(cell) for cell in ("ND", ".", "?")] == [False, True, True]


def test_json_values_are_read_as_in_training() -> None:
    assert [MEASURED.read_json(cell) for cell in ("<3", -999, "ND", "soon", 5)] == [3, None, None, "soon", 5]
    plain = ColumnReading(kind="number")
    assert (plain.changes_json, plain.is_plain) == (False, True)
    assert ColumnReading(kind="date", date_format="%Y%m%d").read_json(20190131) == "20190131"
    assert ColumnReading(kind="date", date_format="ISO8601").read_json(5) == 5
    date = ColumnReading(kind="date", date_format="%d.%m.%y", gap_words=("open",))
    assert [date.read_json(cell) for cell in ("2019-02-20", "open", "soon")] == ["20.02.19", None, "soon"]
    flag = ColumnReading(kind="boolean", true_words=("true",), false_words=("false",))
    assert [flag.read_json(cell) for cell in ("", "NA", "perhaps")] == [None, None, "perhaps"]
