"""What the cells of a column are, decided over the whole column and table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.data.tables.column_findings import describe_readings
from mlctl.data.tables.column_types import ReadingOptions, TableColumn, set_option
from mlctl.data.tables.convert_columns import convert_columns
from mlctl.errors import UsageError

pytestmark = pytest.mark.unit

RNG = np.random.default_rng(0)


def convert(frame: pd.DataFrame, **options: Any) -> tuple[pd.DataFrame, dict[str, TableColumn], list[str]]:
    rows, columns = convert_columns(frame, {}, ReadingOptions.of(options))
    return (
        rows,
        {column.name: column for column in columns},
        [found.text for found in describe_readings(columns)],
    )


def convert_one(cells: Sequence[Any], name: str = "x", **options: Any) -> tuple[Any, TableColumn, list[str]]:
    """Return values (None if the column is dropped), column and lines of one column."""
    rows, columns, lines = convert(pd.DataFrame({name: pd.Series(list(cells), dtype=object)}), **options)
    return (list(rows[name]) if name in rows else None), columns[name], lines


def texts(cells: Sequence[str], times: int = 10) -> list[str]:
    return list(cells) * times


NUMBERS = [
    (["12,500 km", "800 km", "1,000 km"], [12500, 800, 1000], "unit km removed"),
    (["1.4kg", "500 g", "2 kg"], [1.4, 0.5, 2], "units kg and g, read as kg"),
    (["₹4,50,000", "₹75,000", "₹12,00,000"], [450000, 75000, 1200000], "unit ₹ removed"),
    (["1.2M", "3k", "250"], [1.2e6, 3000, 250], "1 M is read as 1000000"),
    (["12,5", "1,25", "1.234,5"], [12.5, 1.25, 1234.5], "decimal commas, points between thousands"),
    (["<0.5", "3.1", "10"], [0.5, 3.1, 10], "bounds are read as their number: <0.5 as 0.5 (11 cells)"),
    (["3.5", "ND", "4"], [3.5, None, 4], "ND is read as missing"),
    (["3.5", "#DIV/0!", "n.a."], [3.5, None, None], "#DIV/0!, n.a. are read as missing"),
    (["1,234", "5,678", "901"], [1234, 5678, 901], "commas stand between thousands"),
    (["1:20.5", "59:10", "1:02:03"], [80.5, 3550, 3723], "1:20.5 is read as 80.5 s"),
    (["2h 50m", "19h", "45m"], [170, 1140, 45], "2h 50m is read as 170 m"),
    (["4.1/5", "3/5", "5/5"], [4.1, 3, 5], "4.1/5 is read as 4.1"),
    (["10.5° N", "33.9° S", "7.1° N"], [10.5, -33.9, 7.1], "numbers with ° S are read as negative"),
]


@pytest.mark.parametrize(("cells", "values", "line"), NUMBERS)
def test_numbers(cells: list[str], values: list[float | None], line: str) -> None:
    found, column, lines = convert_one([*texts(cells), "7" if "n.a." in cells else cells[0]])
    assert column.type == "number"
    assert [None if value != value else pytest.approx(value) for value in found[: len(cells)]] == values
    assert f"x: {line}" in lines


@pytest.mark.parametrize(
    "cells",
    [
        ["$5", "€7", "$3"],
        ["<=50K", ">50K", "<=50K"],
        ["8A", "9B", "10C"],
        ["4WD", "2WD", "AWD"],
        ["512GB SSD", "1TB HDD", "256GB SSD"],
        ["01067", "04109", "80331"],
        ["10-20", "20-30", "30+"],
        ["1 (low)", "2 (mid)", "3 (high)"],
        ["Less than $40K", "$40K - $60K", "$120K +"],
        ["18-24", "25-34", "65 and over"],
        ["4/5", "3/10", "1/2"],
        ["1", "2", "Ground"],
    ],
)
def test_these_are_categories(cells: list[str]) -> None:
    assert convert_one(texts(cells))[1].type == "category"


def test_units_that_cannot_be_converted_are_said_and_can_be_ignored() -> None:
    cells = texts(["$5", "€7", "$3"])
    (line,) = convert_one(cells)[2]
    assert line == (
        "x: $ and € cannot be converted into each other, so the cells are read as words"
        " (to ignore the units: --set column.x=number)"
    )
    values, column, _ = convert_one(cells, **{"column.x": "number"})
    assert (column.type, values[:3]) == ("number", [5, 7, 3])


def test_the_whole_table_decides_on_the_decimal_sign() -> None:
    frame = pd.DataFrame(
        {
            "late": [*map(str, range(300)), *["40,5"] * 100],
            "three": texts(["1,234", "5,678", "171,449", "2,5"], 100),
            "open": texts(["1.234", "5.678"], 200),
            "comma": texts(["1,234", "5,678"], 200),
        }
    )
    rows, _, lines = convert(frame)
    assert rows["late"].iloc[-1] == 40.5
    assert rows["three"].iloc[2] == 171.449
    assert rows["open"].iloc[0] == 1234
    assert rows["comma"].iloc[0] == 1.234
    assert "late, three, comma: decimal commas" in lines


def test_points_between_thousands_without_a_decimal() -> None:
    cells = texts(["1.234", "12.500", "950", "7"])
    values, _, lines = convert_one(cells)
    assert (values[:4], lines) == ([1234, 12500, 950, 7], ["x: decimal commas, points between thousands"])
    assert convert_one(texts(["1.234", "12.500", "9.125"]))[0][:2] == [1.234, 12.5]
    frame = pd.DataFrame({"x": cells, "y": np.arange(40) / 8})  # the table has decimal points
    assert list(convert(frame)[0]["x"])[:2] == [1.234, 12.5]


def test_what_stands_behind_many_different_numbers_is_left_out() -> None:
    for behind in (" ± 0.4", " (5%)", "*", "[3]"):
        values, column, lines = convert_one([f"{number}.5{behind}" for number in range(30)])
        assert (column.type, values[:2], lines) == ("number", [0.5, 1.5], [f"x: 0.5{behind} is read as 0.5"])


def test_more_bounds_than_numbers_are_numbers_if_there_are_many() -> None:
    cells = ["<0.6"] * 30 + [f"{number}.5" for number in range(20)]
    assert convert_one(cells)[1].type == "number"


def test_a_word_in_half_of_the_cells_is_missing_and_known_to_the_model() -> None:
    cells = [word for number in range(40) for word in ("Suppressed by law", f"{number}.5")]
    _, column, lines = convert_one(cells)
    assert (column.type, column.missing) == ("number", 40)
    assert lines == ["x: 'Suppressed by law' is no number: read as missing"]
    assert column.reading is not None
    assert column.reading.is_gap("Suppressed by law")
    assert column.reading.takes_texts


def test_a_row_of_words_among_numbers_is_missing() -> None:
    _, column, lines = convert_one([*(str(number) for number in range(0, 99, 2)), *["Ask For Price"] * 8])
    assert (column.type, column.missing) == ("number", 8)
    assert lines == ["x: 'Ask For Price' is no number: read as missing"]


@pytest.mark.parametrize(
    ("sentinel", "low", "high"),
    [(-999, 0, 100), (-200, 0.5, 300), (9999, 1, 60), (99999, 0, 41310), (-9999, -50, 50)],
)
def test_sentinels_are_missing(sentinel: float, low: float, high: float) -> None:
    values = RNG.uniform(low, high, 300)
    values[::20] = sentinel
    frame = pd.DataFrame({"x": values, "y": RNG.normal(size=300)})
    _, columns, lines = convert(frame)
    assert columns["x"].missing == 15
    assert columns["x"].reading is not None
    assert columns["x"].reading.sentinels == (sentinel,)
    assert lines == [f"x: {sentinel} is read as missing (to keep it as a number: --set sentinels=false)"]
    for options in ({"sentinels": "false"}, {"sentinel.x": "none"}):
        _, columns, lines = convert(frame, **options)
        assert (columns["x"].missing, lines) == (0, [])


def test_two_codes_for_no_answer_are_missing() -> None:
    values = RNG.integers(0, 20, 300).astype(float)
    values[::20], values[1::20] = 777, 999
    _, columns, lines = convert(pd.DataFrame({"x": values, "y": RNG.normal(size=300)}))
    assert columns["x"].missing == 30
    assert lines == ["x: 777 and 999 are read as missing (to keep them as numbers: --set sentinels=false)"]


@pytest.mark.parametrize("sentinel", [-999.25, 1e20, 9.969209968386869e36, 9999.9])
def test_numbers_that_fill_gaps_in_measurements_are_missing(sentinel: float) -> None:
    values = RNG.uniform(0, 100, 300)
    values[::20] = sentinel
    assert convert(pd.DataFrame({"x": values}))[1]["x"].missing == 15


@pytest.mark.parametrize(
    "values",
    [
        np.arange(300) + 0.5,  # no row counter
        np.arange(300) % 100,  # 99 is the next number
        np.r_[RNG.uniform(0, 100, 299), 999],  # it does not repeat
        np.r_[np.zeros(290), np.full(10, 999)],  # all else is one number
        np.r_[RNG.uniform(0, 1000, 290), np.full(10, 1500)],  # nobody writes it for a gap
        np.r_[RNG.uniform(9000, 99000, 290), np.full(10, 99999)],  # it is near
    ],
)
def test_other_extremes_are_numbers(values: Any) -> None:
    assert convert(pd.DataFrame({"x": values, "y": RNG.normal(size=300)}))[2] == []


def test_a_sentinel_can_be_set_and_one_column_tells_of_others() -> None:
    values = np.r_[RNG.uniform(0, 10, 295), np.full(5, 77.0)]
    _, columns, _ = convert(pd.DataFrame({"x": values}), **{"sentinel.x": "77"})
    assert columns["x"].missing == 5
    wide = np.r_[RNG.uniform(0, 1500, 290), np.full(10, -200.0)]
    near = np.r_[RNG.uniform(0, 50, 290), np.full(10, -200.0)]
    assert convert(pd.DataFrame({"wide": wide}))[1]["wide"].missing == 0
    assert convert(pd.DataFrame({"wide": wide, "near": near}))[1]["wide"].missing == 10
    with pytest.raises(UsageError, match="is no number"):
        convert(pd.DataFrame({"x": values}), **{"sentinel.x": "much"})


DAYS = pd.date_range("2019-01-03", periods=40, freq="41D")
FORMATS = {
    "%d-%b-%y": "%d-%b-%y", "%B %d, %Y": "%B %d, %Y", "%a, %d %b %Y %H:%M:%S +0000": "%a, %d %b %Y %H:%M:%S %z",
    "%Y%m%d": "%Y%m%d", "%Y-%m-%dT%H:%M:%SZ": "ISO8601", "%Y-%m-%d": "ISO8601", "%Y-%m": "ISO8601", "%d.%m.%Y": "%d.%m.%Y",
    "%d/%m/%Y %H:%M": "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p": "%m/%d/%Y %I:%M %p", "%m/%d/%y": "%m/%d/%y", "%b %Y": "%b %Y",
    "%b-%y": "%b-%y", "%d%b%Y": "%d%b%Y", "%Y/%m/%d": "%Y/%m/%d", "%a %b %d %H:%M:%S %Y": "%a %b %d %H:%M:%S %Y",
    "%d/%b/%Y:%H:%M:%S +0000": "%d/%b/%Y:%H:%M:%S %z", "%Y%m%d%H%M%S": "%Y%m%d%H%M%S", "%A, %d %B %Y": "%A, %d %B %Y",
    "%m.%Y": "%m.%Y", "%Y.%m.%d %H:%M:%S": "%Y.%m.%d %H:%M:%S",
}  # fmt: skip


@pytest.mark.parametrize("written", FORMATS)
def test_dates(written: str) -> None:
    cells = [f"{day:{written}}" for day in DAYS]
    values, column, lines = convert_one(cells)
    assert (column.type, column.format, column.missing) == ("date", FORMATS[written], 0)
    assert values == cells
    assert len(lines) == 1
    assert lines[0].startswith(f"x: dates such as {cells[0]}")


def test_dates_in_other_words() -> None:
    for cells, format in (
        ([f"{day:%d-%b-%y}".upper() for day in DAYS], "%d-%b-%y"),
        ([f"{day.year}-Q{(day.month + 2) // 3}" for day in DAYS], "%Y-Q%q"),
        ([f"{hour}:{30 if hour % 2 else 15}" for hour in range(24)], "%H:%M"),
        (
            [f"{day:%m/%d/%Y}" if day.day % 2 else f"{day:%m/%d/%Y %H:%M}" for day in DAYS],
            "%m/%d/%Y %H:%M|%m/%d/%Y",
        ),
    ):
        column = convert_one(cells)[1]
        assert column.type == "date"
        assert set(column.format.split("|")) == set(format.split("|"))
    for cell, format in (
        ("{0} de marzo de 2021", "%d de %B de %Y"),
        ("{0}-Mar-21 1:05:00 AM UTC", "%d-%b-%y %I:%M:%S %p %z"),
        ("mar {0} mars 2021", "%a %d %b %Y"),
        ("{0}.03.2021 10:05 Uhr", "%d.%m.%Y %H:%M Uhr"),
        ("2021-03-{0} 10:00:00 +0100 CET", "%Y-%m-%d %H:%M:%S %z"),
        ("Mar {0} Mar 2021", "%a %d %b %Y"),
    ):
        column = convert_one(texts([cell.format(day) for day in range(1, 29)]))[1]
        assert (column.type, column.format) == ("date", format)
    column = convert_one(texts([f"{hour:02}.00.00" for hour in range(24)]))[1]
    assert (column.type, column.format) == ("date", "%H.%M.%S")
    column = convert_one(texts([f"{day:02}.03.21" for day in range(1, 24)]))[1]
    assert (column.type, column.format) == ("date", "%d.%m.%y")
    numbers = pd.DataFrame({"day": [int(f"{day:%Y%m%d}") for day in DAYS]})
    rows, columns, _ = convert(numbers)
    assert (columns["day"].format, rows["day"].iloc[0]) == ("%Y%m%d", "20190103")


@pytest.mark.parametrize(
    "cells",
    [
        ["1.2.3", "1.4.0", "2.0.1"],
        ["192.168.0.1", "10.0.0.3", "10.0.0.4"],
        ["12-5", "13-6", "14-7"],
        ["May", "June", "July"],
    ],
)
def test_these_are_no_dates(cells: list[str]) -> None:
    assert convert_one(texts(cells))[1].type == "category"


def test_an_ambiguous_date_is_named_with_the_option_that_sets_it() -> None:
    cells = texts(["03/12/2020", "07/03/2020", "06/09/2020"])
    _, column, (line,) = convert_one(cells)
    assert column.format == "%m/%d/%Y"
    assert line == (
        "x may be month/day/year or day/month/year: read as month/day/year (to change: --set date.x=%d/%m/%Y)"
    )
    assert convert_one(cells, **{"date.x": "%d/%m/%Y"})[1].format == "%d/%m/%Y"
    assert convert_one([*cells, "25/12/2020"])[1].format == "%d/%m/%Y"
    frame = pd.DataFrame(
        {"x": texts(["03/12/2020", "07/03/2020"]), "other": texts(["25/12/2020", "26/11/2020"])}
    )
    assert convert(frame)[1]["x"].format == "%d/%m/%Y"
    with pytest.raises(UsageError, match="row 1 holds '03/12/2020'"):
        convert_one(cells, **{"date.x": "%Y-%m-%d"})
    with pytest.raises(UsageError, match="no format of dates"):
        convert_one(cells, **{"date.x": "us"})


def test_the_order_of_rows_and_first_days_settle_ambiguous_dates() -> None:
    ordered = [
        f"{day:%d/%m/%Y}" for day in pd.date_range("2020-01-01", periods=90, freq="D") if day.day <= 12
    ]
    assert convert_one(ordered)[1].format == "%d/%m/%Y"
    firsts = ["01/05/2020", "01/03/2020", "01/04/2020", "01/02/2020", "01/11/2020", "01/07/2020"]
    assert convert_one(firsts * 5)[1].format == "%d/%m/%Y"


@pytest.mark.parametrize(
    ("cells", "gap"),
    [
        ([f"{day:%Y-%m-%d}" for day in DAYS], "9999-12-31"),
        ([f"{day:%d.%m.%Y}" for day in DAYS], "31.12.9999"),
        ([f"{day:%Y%m%d}" for day in DAYS], "00000000"),
        ([f"{day:%d.%m.%Y}" for day in DAYS], "until further notice"),
    ],
)
def test_days_that_nobody_means_are_missing(cells: list[str], gap: str) -> None:
    _, column, lines = convert_one([*cells, gap])
    assert (column.type, column.missing) == ("date", 1)
    assert lines[-1] == f"x: {gap} is read as missing"


def test_a_day_0_among_whole_numbers_is_missing() -> None:
    cells = [0 if number % 8 == 0 else int(f"{day:%Y%m%d}") for number, day in enumerate(DAYS)]
    assert convert_one(cells)[1].missing == 5


def test_a_year_for_each_row_is_no_row_counter() -> None:
    frame = pd.DataFrame({"year": range(1950, 2010), "n": range(60), "y": RNG.normal(size=60)})
    assert {name: column.type for name, column in convert(frame)[1].items()} == {
        "year": "number",
        "n": "drop",
        "y": "number",
    }


def test_epoch_times_only_if_set() -> None:
    cells = [str(1_550_000_000 + 86_400 * number * 3) for number in range(30)]
    assert convert_one(cells)[1].type == "number"
    assert convert_one(cells, **{"date.x": "epoch"})[1].format == "epoch"


@pytest.mark.parametrize("word", ["X", "1", "yes", "pool"])
def test_a_flag_or_blank_is_true_or_false(word: str) -> None:
    values, column, lines = convert_one([word, None, None] * 20)
    assert (column.type, values[:3]) == ("boolean", [True, False, False])
    assert lines == [f"x: {word} or empty, read as yes or no"]
    typed, column, _ = convert(pd.DataFrame({"x": [1.0, np.nan, np.nan] * 20, "y": RNG.normal(size=60)}))
    assert list(typed["x"])[:3] == [True, False, False]


@pytest.mark.parametrize(
    "words", [("ja", "nein"), ("Oui", "Non"), ("sí", "no"), ("да", "нет"), ("Y", "N"), ("t", "f")]
)
def test_words_of_true_and_false(words: tuple[str, str]) -> None:
    values, column, _ = convert_one([*words, None, words[0]] * 10)
    assert (column.type, column.missing) == ("boolean", 10)
    assert values[:3] == [*words, None]


def test_true_and_false_as_texts_are_booleans() -> None:
    values, column, _ = convert_one(["TRUE", "False", None, "true"] * 10)
    assert (column.type, values[:4]) == ("boolean", [True, False, None, True])


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("n", list(range(60)), "a row counter"),
        ("order_id", RNG.permutation(10_000)[:60].tolist(), "an id: each row has its own"),
        ("Unnamed: 0", RNG.permutation(60).tolist(), "an id: each row has its own"),
        ("code", [f"x{number:04d}" for number in range(60)], "an id: each row has its own"),
        ("same", ["a"] * 60, "always the same"),
        ("empty", [None] * 60, "always empty"),
    ],
)
def test_dropped_columns(name: str, cells: list[Any], reason: str) -> None:
    frame = pd.DataFrame({name: cells, "y": RNG.normal(size=60)})
    assert convert(frame)[1][name].reason == reason


def test_duplicate_columns_are_dropped_unless_they_are_set() -> None:
    frame = pd.DataFrame({"a": RNG.normal(size=60), "town": texts(["Bonn", "Rome"], 30)})
    frame = frame.assign(b=frame["a"], city=frame["town"], c=frame["a"] + 1)
    _, columns, _ = convert(frame)
    assert {name: column.reason for name, column in columns.items() if column.type == "drop"} == {
        "b": "the same as a",
        "city": "the same as town",
    }
    assert convert(frame, **{"column.b": "number"})[1]["b"].type == "number"


def test_short_codes_that_repeat_are_categories() -> None:
    codes = [f"K{number}" for number in RNG.integers(0, 2000, 6000)]
    assert convert_one(codes)[1].type == "category"


def test_sentences_without_blanks_are_texts_and_so_are_lists() -> None:
    sentences = [f"早餐难吃，隔音不好，睡不着，服务态度很差{number}号房" for number in range(60)]
    assert convert_one(sentences)[1].type == "text"
    values, column, lines = convert_one([["red", "old"], ["blue"], ["new", "fast"]] * 20)
    assert (column.type, values[0], lines) == ("text", "red old", ["x: lists, read as texts"])


def test_options_name_columns_in_any_case_and_are_quoted() -> None:
    options = ReadingOptions.of({"column.price (eur)": "drop", "date.When": "%d/%m/%Y"}).match(
        ["Price\n(EUR)", "when", "x"]
    )
    assert (options.types, options.date_formats) == ({"Price\n(EUR)": "drop"}, {"when": "%d/%m/%Y"})
    assert set_option("date.When", "%d/%m/%Y") == "--set date.When=%d/%m/%Y"
    assert set_option("column.Price\n(EUR)", "drop") == "--set 'column.Price (EUR)=drop'"


def test_options_for_other_columns_are_refused() -> None:
    for options in ({"date.z": "%Y"}, {"sentinel.z": "5"}, {"column.z": "number"}):
        with pytest.raises(UsageError, match="no such column"):
            convert_one(["a", "b"] * 20, **options)
