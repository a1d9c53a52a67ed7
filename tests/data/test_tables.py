"""A built-in recipe's CSV: what is wrong is named with its row and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlctl.data.builtin.fixed_csv import Column, read
from mlctl.errors import BadDataError

COLUMNS = {"a": Column(), "b": Column(gaps=True), "c": Column(number=False)}
GOOD = "a,b,c\n1,2,x\n3,,y\n-4.5e1,6,NA\n"


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for text in (
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.rstrip("\n"),
        GOOD.replace("a,b,c", '"a","b","c"'),
    ):
        path.write_text(text, encoding="utf-8", newline="")
        frame = read(path, COLUMNS)
        assert frame["a"].tolist() == [1.0, 3.0, -45.0]
        assert frame["b"].isna().tolist() == [False, True, False]
        assert frame["c"].tolist() == ["x", "y", "NA"]


def test_columns_come_in_the_declared_order(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("c,a,b\nx,1,2\n")
    assert list(read(tmp_path / "t.csv", COLUMNS)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"t\.csv is empty"),
        ("a,b,c\n", "a header and no rows"),
        (GOOD.replace(",", ";"), "divided by semicolons, expected commas"),
        (GOOD.replace(",", "\t"), "divided by tabs, expected commas"),
        ("a,b\n1,2\n", "lacks c"),
        ("a,b,c,d\n1,2,x,4\n", "has unknown d"),
        ("a,b,c,c\n1,2,x,4\n", "has twice c"),
        ("a,b,c\n1,2,x\nseven,2,x\n", "row 2, a: found 'seven', expected a number"),
        ("a,b,c\n1,2,x\n1,?,x\n", r"row 2, b: found '\?', expected a number"),
        ("a,b,c\n1,2,x\n,2,x\n", "row 2, a: found nothing, expected a number"),
        ("a,b,c\n1,2,x\nnan,2,x\n", "row 2, a: found"),
        ("a,b,c\n1,2,x\n1,2,\n", "row 2, c: found nothing, expected a word"),
        ("a,b,c\n1,2,x\n1,inf,x\n", "row 2, b: found 'inf', expected a number"),
        ("a,b,c\n1,2,x\n1,2,x,9\n", "no whole CSV file: .*line 3"),
        ("a,b,c\n1,2,x\n1,2\n", "row 2, c: found nothing"),
        ('a,b,c\n1,2,"x\n1,2,y\n', "t.csv"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(BadDataError, match=said) as caught:
        read(path, COLUMNS)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    for content in (b"\x93NUMPY\xff\xfe", b"a,b,c\n1,2,caf\xe9\n"):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(BadDataError, match=r"UTF-8|utf-8"):
            read(tmp_path / "t.csv", COLUMNS)
