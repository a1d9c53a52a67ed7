"""The target of a table: classes or values, rows without one, rare classes and the positive class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.data.class_order import order_classes
from mlctl.data.tables.column_types import ReadingOptions
from mlctl.data.tables.target_column import Target, parse_target, read_labels
from mlctl.errors import BadDataError, UsageError

pytestmark = pytest.mark.unit


def parse(cells: list[Any], **options: Any) -> Target:
    return parse_target(pd.Series(cells, name="y"), **options)


def lines(target: Target) -> str:
    return "\n".join(finding.note for finding in target.findings)


@pytest.mark.parametrize(
    ("cells", "classes", "positive"),
    [
        (["yes", "no"], ("no", "yes"), "by its meaning"),
        (["Nein", "Ja"], ("Nein", "Ja"), "by its meaning"),
        (["sí", "no"], ("no", "sí"), "by its meaning"),
        (["да", "нет"], ("нет", "да"), "by its meaning"),
        (["是", "否"], ("否", "是"), "by its meaning"),
        (["+", "-"], ("-", "+"), "by its meaning"),
        ([1, 0], ("0", "1"), "by its meaning"),
        (["1", "-1"], ("-1", "1"), "by its meaning"),
        ([True, False, None], ("false", "true"), "by its meaning"),
        (["True", "False", ""], ("false", "true"), "by its meaning"),
        (["ham", "spam"], ("ham", "spam"), "by its meaning"),
        (["M", "F"], ("F", "M"), "the last by name"),
        (["b", "a"], ("a", "b"), "the last by name"),
    ],
)
def test_the_positive_class_is_the_second_one(
    cells: list[Any], classes: tuple[str, ...], positive: str
) -> None:
    target = parse(cells * 20)
    assert target.classes == classes
    assert f"positive class: {classes[1]}, {positive} (to change: --set positive=" in lines(target)
    known = [classes[value] for value in target.values]
    assert len(known) == 20 * sum(cell not in (None, "") for cell in cells)


def test_without_a_meaning_the_rarer_class_is_positive() -> None:
    target = parse(["alpha"] * 10 + ["beta"] * 90)
    assert target.classes == ("beta", "alpha")
    assert "positive class: alpha, the rarer" in lines(target)
    assert parse(["alpha"] * 45 + ["beta"] * 55).classes == ("alpha", "beta")  # about as many


def test_the_positive_class_can_be_set() -> None:
    assert parse(["yes", "no"] * 10, positive="NO").classes == ("yes", "no")
    with pytest.raises(UsageError, match="positive=maybe is no class of y"):
        parse(["yes", "no"] * 10, positive="maybe")
    with pytest.raises(UsageError, match="y has 3 classes"):
        parse(["a", "b", "c"] * 10, positive="a")
    with pytest.raises(UsageError, match="y is a regression"):
        parse(list(np.arange(50) * 1.5), positive="1")
    assert order_classes({"a": 1, "b": 2, "c": 3}) == (["a", "b", "c"], "")


def test_classes_that_differ_in_a_point_at_their_end_are_one() -> None:
    target = parse(["<=50K", ">50K", "<=50K.", ">50K.", "<=50K"] * 8)
    assert target.classes == ("<=50K", ">50K")
    assert "one class each: <=50K and <=50K.; >50K and >50K." in lines(target)
    _, labels = read_labels(pd.Series(["<=50K.", ">50K"]), classes=target.classes, model="M")
    assert labels.tolist() == [0, 1]


def test_a_number_that_stands_for_no_target_is_left_out() -> None:
    cells = [-999 if row % 6 == 0 else row * 2.5 + 10 for row in range(60)]
    target = parse(cells)
    assert (target.has_target.sum(), target.values.min()) == (50, 12.5)
    assert "10 rows have no y ('-999'): left out" in lines(target)
    assert "y: -999 is read as missing (to keep it as a number: --set sentinels=false)" in lines(target)
    assert target.reading is not None
    has_label, values = read_labels(pd.Series([-999, 4.0]), classes=(), model="M", reading=target.reading)
    assert (has_label.tolist(), values.tolist()) == ([False, True], [4.0])
    for options in ({"sentinels": "false"}, {"sentinel.y": "none"}):
        assert parse(cells, options=ReadingOptions.of(options)).has_target.all()
    assert parse(cells, options=ReadingOptions.of({"sentinel.y": "12.5"})).values.min() == -999


def test_a_target_of_dates_is_refused_with_a_way_out() -> None:
    with pytest.raises(BadDataError, match="the target y holds dates") as caught:
        parse([f"2021-{row % 12 + 1:02}-{row % 28 + 1:02}" for row in range(60)])
    assert "turn them into numbers" in caught.value.hint


def test_a_target_of_durations_or_ratings_is_a_number() -> None:
    assert parse([f"{row % 9}h {row}m" for row in range(50)]).values[1] == 61
    assert parse([f"{row}.5/100" for row in range(50)]).values[1] == 1.5


@pytest.mark.parametrize(
    ("rare", "classes", "rows", "line"),
    [
        ("train", ("bad", "good", "odd"), 203, "3 rows put into training, none into validation and test"),
        ("other", ("bad", "good", "other"), 203, "together they are the class other"),
        ("drop", ("bad", "good"), 200, "3 rows left out"),
    ],
)
def test_a_rare_class_never_refuses_the_file(
    rare: str, classes: tuple[str, ...], rows: int, line: str
) -> None:
    target = parse(["good", "bad"] * 100 + ["odd"] * 3, rare=rare)
    assert target.classes == classes
    assert len(target.values) == rows
    assert int(target.has_target.sum()) == rows
    assert int(target.is_rare.sum()) == (3 if rare != "drop" else 0)
    assert line in lines(target)


def test_fewer_than_two_usable_classes_are_refused() -> None:
    with pytest.raises(BadDataError, match="1 classes with at least 5 rows"):
        parse(["good"] * 50 + ["odd"] * 3)
    with pytest.raises(BadDataError, match="always good"):
        parse(["good"] * 50)
    with pytest.raises(BadDataError, match="too many for classes"):
        parse([f"name {number}" for number in range(50)])


def test_a_few_words_among_numbers_are_gaps() -> None:
    target = parse(["Ask For Price"] * 8 + [f"{10_000 + 37 * number:,}" for number in range(192)])
    assert not target.classes
    assert len(target.values) == 192
    assert target.values.min() == 10_000
    assert "8 rows have no y ('Ask For Price'): left out" in lines(target)


def test_currencies_and_units_of_a_target_are_taken_off() -> None:
    target = parse([f"€{number}.50" for number in range(60)])
    assert target.values[3] == 3.5
    assert "y: unit € removed" in lines(target)


def test_words_for_gaps_are_no_classes_but_may_be_names() -> None:
    target = parse((["None", "Insomnia", "Apnea", "?"] * 30) + ["NA"])
    assert target.classes == ("Apnea", "Insomnia", "None")
    assert "31 rows have no y ('?', 'NA'): left out" in lines(target)
    numbers = parse(["none" if number % 4 == 0 else str(number * 1.5) for number in range(120)])
    assert not numbers.classes
    assert "30 rows have no y ('none')" in lines(numbers)


def test_classes_that_differ_in_case_are_one() -> None:
    target = parse(["Yes", "no", "YES", "Yes"] * 10)
    assert target.classes == ("no", "Yes")
    assert "one class each: Yes and YES" in lines(target)


def test_small_whole_numbers_are_classes_if_each_has_rows() -> None:
    grades = [3] * 8 + [4] * 20 + [5] * 40 + [6] * 30
    assert parse(grades).classes == ("3", "4", "5", "6")
    assert not parse([*grades, 8, 8]).classes  # too rare for a class: they are values
    assert parse([*grades, 8, 8], task="multiclass").classes == ("3", "4", "5", "6", "8")


def test_decimal_commas_are_those_of_the_table_and_of_the_training() -> None:
    prices = pd.Series(["1.234", "5.678", "12.500"] * 10, name="price")
    table = pd.DataFrame({"price": prices, "size": ["12,5", "7,25", "80"] * 10})
    target = parse_target(prices, task="regression", table=table)
    assert target.values[:3].tolist() == [1234, 5678, 12500]
    assert parse_target(prices, task="regression").values[:3].tolist() == [1.234, 5.678, 12.5]
    _, values = read_labels(prices[:2], classes=(), model="m", reading=target.reading)
    assert values.tolist() == [1234, 5678]


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["<=50K", ">50K"] * 30, {"<=50K", ">50K"}),
        (["<18", "18-65", ">65"] * 30, {"<18", "18-65", ">65"}),
        (["0", "1", "2", "2+"] * 30, {"0", "1", "2", "2+"}),
        (["10%", "20%"] * 30, {"10%", "20%"}),
        (["1.0", "2.0", "3"] * 30, {"1", "2", "3"}),
    ],
)
def test_classes_keep_what_stands_beside_their_numbers(cells: list[str], classes: set[str]) -> None:
    assert set(parse(cells).classes) == classes
