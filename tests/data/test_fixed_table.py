"""Tables with known columns: an error names the row and the column."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlctl.data.builtin.fixed_table import FixedColumn, read_fixed_table
from mlctl.errors import BadDataError

pytestmark = pytest.mark.unit

COLUMNS = {"a": FixedColumn(), "b": FixedColumn(optional=True), "c": FixedColumn(number=False)}
TABLE = "a,b,c\n1,2,x\n3,,y\n-4.5e1,6,NA\n"


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        "\ufeff" + TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.rstrip("\n"),
        TABLE.replace("a,b,c", '"a","b","c"'),
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
    ],
)
def test_numbers_and_words_are_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    frame = read_fixed_table(path, COLUMNS)
    assert frame["a"].tolist() == [1.0, 3.0, -45.0]
    assert frame["b"].isna().tolist() == [False, True, False]
    assert frame["c"].tolist() == ["x", "y", "NA"]
    assert frame.dtypes.astype(str).tolist()[:2] == ["float64", "float64"]


def test_columns_have_the_declared_order(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("c,a,b\nx,1,2\n")
    assert list(read_fixed_table(tmp_path / "t.csv", COLUMNS)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv is empty"),
        ("a,b,c\n", "a header but no rows"),
        ("a,b\n1,2\n", "has no column c"),
        ("a,b,c,d\n1,2,x,4\n", "has the unknown column d"),
        ("a,b,c,c\n1,2,x,4\n", "has the unknown column c_2"),
        ("a,b,c\n1,2,x\nseven,2,x\n", "row 2, column a: found 'seven', expected a number"),
        ("a,b,c\n1,2,x\n1,?,x\n", r"row 2, column b: found '\?', expected a number"),
        ("a,b,c\n1,2,x\n,2,x\n", "row 2, column a: found '', expected a number"),
        ("a,b,c\n1,2,x\nnan,2,x\n", "row 2, column a: found 'nan'"),
        ("a,b,c\n1,2,x\n1,2,\n", "row 2, column c: found '', expected a word"),
        ("a,b,c\n1,2,x\n1,inf,x\n", "row 2, column b: found 'inf', expected a number"),
        ("a,b,c\n1,2,x\n1,2,x,9\n", "not a complete table: .*line 3"),
        ("a,b,c\n1,2,x\n1,2\n", "row 2, column c: found ''"),
        ('a,b,c\n1,2,"x\n1,2,y\n', "t.csv"),
    ],
)
def test_an_error_names_the_mistake(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(BadDataError, match=message) as caught:
        read_fixed_table(path, COLUMNS)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    for content in (b"\x93NUMPY\xff\xfe", b"\x93NUMPY\x01\x00\xff\xfe"):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(BadDataError, match=r"t\.csv"):
            read_fixed_table(tmp_path / "t.csv", COLUMNS)


def test_a_table_in_a_windows_encoding_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b,c\n1,2,caf\xe9\n")
    assert read_fixed_table(tmp_path / "t.csv", COLUMNS)["c"].tolist() == ["café"]
