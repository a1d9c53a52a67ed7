"""What stands above, between and below the rows of a text table, and how the columns are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlctl.data.tables import reader
from mlctl.data.tables.formats.content import TableContent
from mlctl.errors import BadDataError

pytestmark = pytest.mark.unit

HEADER = "n,colour,x,y\n"
ROWS = "".join(f"{n},{'red' if n % 3 else 'blue'},{n * 1.5},{'yes' if n % 2 else 'no'}\n" for n in range(30))


def read(tmp_path: Path, text: str | bytes, name: str = "t.csv", **options: bool) -> TableContent:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return reader.read(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("Report of 2021,,,\n\n" + HEADER + ROWS, "the first 2 lines are above the header"),
        ("Firm,,,\nReport,,2024,\n,,,\n" + HEADER + ROWS, "the first 3 lines are above the header"),
        ("Note: this table, made by us, has many, many, commas\n" + HEADER + ROWS, "the first line is above"),
        ("Report of 2021\n" + HEADER + ROWS, "the first line is above the header"),
        ("# made by X\n# on 3 May\n" + HEADER + ROWS, "the first 2 lines are above the header"),
        ("\n\n" + HEADER + ROWS, "the first 2 lines are above the header"),
        ("sep=;\n" + (HEADER + ROWS).replace(",", ";"), "the first line is above the header, and left out: 'sep=;'"),
        ("#" + HEADER + ROWS, ""),
        (HEADER + ROWS + "Total,,652.5,\n", "the end is no row, and is left out: 'Total,,652.5'"),
        (HEADER + ROWS + "\nSource: office, 2021\n", "the end is no row, and is left out: 'Source: office, 2021'"),
        (HEADER + ROWS + "\n\n(30 rows affected)", "the end is no row, and is left out: '(30 rows affected)'"),
        ("Title\n\n" + HEADER + ROWS + "\nSource: office\n", "the end is no row"),
        (HEADER + ROWS + ",,,\n,,,\n\n", "2 rows are empty: left out"),
        (HEADER + ROWS[: ROWS.index("9,")] + HEADER + ROWS[ROWS.index("9,") :], "the header is repeated in 1 row"),
        ((HEADER + ROWS).replace("\n", ",\n"), ""),
        (HEADER + ROWS.replace("\n", ",\n"), ""),
        ((HEADER + ROWS).replace("\n", "\r"), ""),
        ((HEADER + ROWS).replace("\n", "\r\n"), ""),
        ("\ufeff" + HEADER + ROWS, ""),
        ((HEADER + ROWS).encode("utf-16"), ""),
        ((HEADER + ROWS).encode("utf-16-le"), ""),
        ((HEADER + ROWS).replace(",", "|"), ""),
        ((HEADER + ROWS).replace(",", "\t"), ""),
        ((HEADER + ROWS).replace(",", "   "), ""),
    ],
)  # fmt: skip
def test_only_rows_are_read(text: str | bytes, note: str, tmp_path: Path) -> None:
    content = read(tmp_path, text)
    frame = content.frame
    assert frame.shape == (30, 4)
    assert list(frame) == ["n", "colour", "x", "y"]
    assert frame["n"].tolist() == list(range(30))
    assert frame["x"].dtype.kind == "f"
    assert any(found.startswith(note) for found in content.notes) if note else not content.notes


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (ROWS, ["c1", "c2", "c3", "c4"]),
        ("0,?,gas,102.2\n" + "".join(f"{n % 3},{n},diesel,{n}.5\n" for n in range(20)), ["c1", "c2", "c3", "c4"]),
        ("".join(f"{'ab'[n % 2]},{'xyz'[n % 3]},{'pq'[n % 2]}\n" for n in range(40)), ["c1", "c2", "c3"]),
        ("".join(f"5.{n % 9},1.4,Iris-{'ab'[n % 2]}\n" for n in range(40)) + "\n", ["c1", "c2", "c3"]),
        ("country,2000,2001,2002\n" + "".join(f"c{n},{n}5,{n}6,{n}7\n" for n in range(20)),
         ["country", "2000", "2001", "2002"]),
        ("n,x,x,y\n" + ROWS, ["n", "x", "x_2", "y"]),
        (",colour,x,y\n" + ROWS, ["Unnamed: 0", "colour", "x", "y"]),
        ('"n\nof rows",colour,x,y\n' + ROWS, ["n\nof rows", "colour", "x", "y"]),
        ('"colour","x","y"\n' + "".join(f'"row {n}",red,{n},no\n' for n in range(20)), ["colour", "x", "y"]),
        ('"colour" "x"\n' + "".join(f'"row {n}" red {n}\n' for n in range(20)), ["colour", "x"]),
        ("| n | x |\n|---|---|\n" + "".join(f"| {n} | {n}.5 |\n" for n in range(9)), ["n", "x"]),
    ],
)  # fmt: skip
def test_columns_are_named(text: str, names: list[str], tmp_path: Path) -> None:
    assert list(read(tmp_path, text).frame) == names


def test_a_repeated_name_is_said(tmp_path: Path) -> None:
    assert read(tmp_path, "n,x,x,x_2\n" + ROWS).notes == ("several columns are named 'x': column 3 is x_3",)


def test_columns_of_fixed_widths_are_read(tmp_path: Path) -> None:
    lines = ["name         age  city", *(f"{f'dark red {n}':<13}{n + 20:<5}new york" for n in range(20))]
    frame = read(tmp_path, "\n".join(lines), "t.txt").frame
    assert list(frame) == ["name", "age", "city"]
    assert frame.iloc[3].tolist() == ["dark red 3", 23, "new york"]


def test_the_last_cell_may_stand_behind_a_tab(tmp_path: Path) -> None:
    lines = (f'{18 + n}.0   8   {300 + n}.0  70  1\t"chevrolet chevelle {n}"' for n in range(20))
    frame = read(tmp_path, "\n".join(lines), "auto.data").frame
    assert frame.shape == (20, 6)
    assert frame["c6"][0] == "chevrolet chevelle 0"


def test_cells_are_read_as_they_are_written(tmp_path: Path) -> None:
    cells = {
        "plain": "1", "float": "1.5", "exponent": "1e3", "zip": "01067", "grouped": "1.234", "comma": "1,5",
        "word": "NA", "gap": "?", "padded": "  a ", "truth": "True", "large": "12345678901234567890",
        "infinite": "inf", "money": "$5", "empty": "",
    }  # fmt: skip
    line = ";".join(cells.values()) + "\n"
    frame = read(tmp_path, ";".join(cells) + "\n" + line * 5).frame
    numbers = {name for name in frame if frame[name].dtype.kind in "if"}
    assert numbers == {"plain", "float", "exponent"}
    assert frame["truth"].dtype.kind == "b"
    assert frame["padded"][0] == "a"
    assert frame["empty"].isna().all()
    as_written = ("zip", "grouped", "comma", "word", "gap", "large", "infinite", "money")
    assert {name: frame[name][0] for name in as_written} == {name: cells[name] for name in as_written}


def test_arrow_and_pandas_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEADER + ROWS + '31,"a, ""b""\nc",,no\n'
    frame = read(tmp_path, text).frame
    monkeypatch.setattr("mlctl.data.tables.formats.delimited._arrow_table", lambda *_: None)
    other = read(tmp_path, text).frame
    assert frame.equals(other)
    assert frame["colour"].iloc[-1] == 'a, "b"\nc'
    batches = list(
        reader.read_batches(tmp_path / "t.csv", 7, known_names=["n"], text_columns=["colour", "y"])
    )
    assert [len(batch) for batch in batches] == [7, 7, 7, 7, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (HEADER.encode(), "has no rows"),
        (bytes(range(256)) * 10, "is not a text file"),
        (np.random.default_rng(0).bytes(4096), "is not a text file"),
        ((HEADER + ROWS + "1,2,3,4,5,6\n" * 10).encode(), "is not a complete table"),
        ((HEADER + ROWS + "\0" * 100).encode(), "is not a text file"),
        (("a,b,c\n" + ROWS.replace("\n", ",1\n")).encode(), "the rows have more cells than the header"),
    ],
)
def test_what_has_no_meaning_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=message):
        read(tmp_path, content)


def test_a_model_of_a_table_without_a_header_reads_one_row(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("red,5,yes\n")
    assert list(reader.read(path, known_names=["c1", "c3"]).frame) == ["c1", "c2", "c3"]
    path.write_text("c1,c2,c3\nred,5,yes\n")
    assert len(reader.read(path, known_names=["c1", "c3"]).frame) == 1


@pytest.mark.parametrize(
    ("text", "rows", "note"),
    [
        (HEADER + ROWS.replace("\n7,red", "\n7,re\0d"), 30, "1 zero byte is left out"),
        (HEADER + ROWS + "30,red,1.5,no,more\n", 30, "1 row has more cells than the header, and is left out: line 32"),
        (HEADER + "30,red,1.5,no,more,\n" * 2 + ROWS, 30, "2 rows have more cells than the header, and are left out: lines 2, 3"),
        (HEADER + ROWS + "30,red,1.5,no,,\n", 31, ""),
    ],
)  # fmt: skip
def test_single_damaged_lines_do_not_refuse_a_file(tmp_path: Path, text: str, rows: int, note: str) -> None:
    content = read(tmp_path, text)
    assert len(content.frame) == rows
    assert "\n".join(content.notes) == note
