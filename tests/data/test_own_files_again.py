"""Files of many kinds: `predict` and an endpoint read the same from them as training did."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.data.tables import reader
from mlctl.recipes import resolve
from mlctl.recipes.match_data import recipe_for
from tests.own_files import FILES, OwnFile
from tests.reading import ReadTable

pytestmark = pytest.mark.unit

N = 60
YES_NO = ["yes", "no", "no"]


def csv_text(columns: dict[str, Callable[[int], Any]], sign: str = ",") -> str:
    """Return a table of `N` rows with a target y."""
    lines = [sign.join([*columns, "y"])]
    lines += [
        sign.join([*(str(cell(row)) for cell in columns.values()), YES_NO[row % 3]]) for row in range(N)
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", [name for name, own in FILES.items() if own.row])
def test_ten_files_are_read_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own: OwnFile = FILES[name]
    monkeypatch.chdir(tmp_path)
    own.write(np.random.default_rng(0))
    assert recipe_for(own.source) == "tabular"
    table = ReadTable(own.source, own.target)
    for note in own.notes:
        assert note in "\n".join(table.data.notes)
    new, _ = table.of_file(own.new)
    assert {len(cells) for cells in new.values()} == {own.rows}
    if own.new == own.source:
        assert new == table.cells
    assert table.of_json([own.row]) == table.of_csv(own.csv) or name == "kaggle"


def test_the_chinese_file_is_one_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    FILES["chinese"].write(np.random.default_rng(0))
    assert resolve("hotel.csv").recipe.name == "texts"


def write_utf_16(path: Path) -> None:
    columns = {
        "Größe": lambda row: f"{row},5 m",
        "Datum": lambda row: f"{row % 28 + 1}.{row % 12 + 1}.21",
        "Ort": lambda row: "Łódź"[: row % 4],
    }
    path.write_bytes(("Bericht 2021\n\n" + csv_text(columns, "\t")).encode("utf-16"))  # fmt: skip


def write_workbook(path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append([None, "Customers (confidential)"])
    sheet.merge_cells("B1:E1")
    sheet.append([])
    sheet.append([None, "revenue", None, "share", "since", "active", "y"])
    sheet.append([None, "€", None, "%", None, None, None])
    for row in range(N):
        since = pd.Timestamp("2020-01-03") + pd.Timedelta(days=row * 9)
        revenue = "#N/A" if row % 9 == 0 else row * 2.5
        sheet.append([None, revenue, None, row / 100, since, bool(row % 2), YES_NO[row % 3]])
    sheet.append([None, "Total", None, 29.5])
    book.save(path)


def write_markup(path: Path) -> None:
    rows = "".join(
        f"<tr><td>{row * 3 % 50}<td>K&ouml;ln {row % 4}</td><td>{YES_NO[row % 3]}</td></tr>"
        for row in range(N)
    )
    path.write_text(f"<html><body><table><tr><th>age</th><th>town</th><th>y</th></tr>{rows}</table></body></html>")  # fmt: skip


def write_workbook_of_2003(path: Path) -> None:
    cells = (
        f'<Row><Cell><Data ss:Type="Number">{row * 3 % 50}</Data></Cell><Cell ss:Index="3"><Data ss:Type="String">{YES_NO[row % 3]}</Data></Cell></Row>'
        for row in range(N)
    )
    head = '<?xml version="1.0"?><Workbook xmlns:ss="urn:x"><Worksheet ss:Name="a"><Table><Row><Cell><Data>age</Data></Cell><Cell><Data>gap</Data></Cell><Cell><Data>y</Data></Cell></Row>'
    path.write_text(head + "".join(cells) + "</Table></Worksheet></Workbook>")  # fmt: skip


def records() -> list[dict[str, Any]]:
    return [
        {"user": {"age": 20 + row * 3 % 40, "home": {"town": "AB"[row % 2]}}, "n": f"{row},5" if row % 2 else row, "y": YES_NO[row % 3]}
        for row in range(N)
    ]  # fmt: skip


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/table.csv", csv_text({"km": lambda row: f"{row},00 km".replace(",", ".")}))
        archive.writestr("data/README.txt", "What is\nin the table")
        archive.writestr("license.pdf", b"%PDF")


def write_database(path: Path) -> None:
    with sqlite3.connect(path.parent / "shop 1.db") as connection:
        connection.execute('create table "order lines" (day text, n text, price real, y text)')
        rows = [
            (
                f"{row % 28 + 1}.{row % 12 + 1}.2021" if row % 6 else None,
                str(row * 3 % 50),
                row * 2.25 if row % 5 else None,
                YES_NO[row % 3],
            )
            for row in range(N)
        ]
        connection.executemany('insert into "order lines" values (?, ?, ?, ?)', rows)  # fmt: skip
        connection.execute("create table other (a)")


def write_rich(path: Path) -> None:
    frame = pd.DataFrame({
        "group": pd.Categorical(["a", "b", None] * 20), "whole": pd.array([row if row % 5 else None for row in range(N)], "Int64"),
        "flag": pd.array([bool(row % 2) if row % 7 else None for row in range(N)], "boolean"), "span": pd.to_timedelta(np.arange(N) * 61 % 97, "s"),
        "zone": pd.date_range("2021-03-27 23:30", periods=N, freq="7h", tz="Europe/Berlin"), "pair": [[row % 7, row % 5] for row in range(N)],
        "tags": [["a", "b"][: row % 3] for row in range(N)], "part": [{"p": row * 7 % 13} for row in range(N)], "y": YES_NO * 20,
    })  # fmt: skip
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_feather(path)


ODD_FILES: dict[str, tuple[Callable[[Path], Any], dict[str, str]]] = {
    "größe.txt": (write_utf_16, {"Größe": "number", "Datum": "date"}),
    "customers (final).xlsx": (write_workbook, {"revenue": "number", "share": "number", "since": "date", "active": "boolean"}),
    "report.xls": (write_markup, {"age": "number", "town": "category"}),
    "old.xls": (write_workbook_of_2003, {"age": "number"}),
    "nested.jsonl": (lambda path: path.write_text("\n".join(map(json.dumps, records()))), {"user.age": "number", "user.home.town": "category", "n": "number"}),
    "array.jsonl": (lambda path: path.write_text("[\n" + ",\n".join(map(json.dumps, records())) + "\n]"), {"user.age": "number"}),
    "commas.jsonl": (lambda path: path.write_text("".join(json.dumps(row) + ",\n" for row in records())), {"user.age": "number"}),
    "stream.json": (lambda path: path.write_text("\n".join(json.dumps(row, indent=1) for row in records())), {"user.age": "number"}),
    "with papers.zip": (write_zip, {"km": "number"}),
    "shop 1.db::order lines": (write_database, {"day": "date", "n": "number", "price": "number"}),
    "rich.parquet": (write_rich, {"group": "category", "whole": "number", "flag": "boolean", "zone": "date", "pair_1": "number", "part.p": "number"}),
    "rich.feather": (write_rich, {"span": "number", "tags": "category", "zone": "date"}),
    "plain.gz": (lambda path: path.write_bytes(gzip.compress(csv_text({"a": lambda row: f"{row} %"}).encode())), {"a": "number"}),
    "words.csv": (lambda path: path.write_text(csv_text({"price": lambda row: row * 7.5 if row % 3 else "Ask us", "when": lambda row: "open" if row == 5 else f"{row % 28 + 1}/{row % 12 + 1}/2020", "c": lambda row: ["a", "n.a.", "b"][row % 3]})), {"price": "number", "when": "date"}),
    "ends.csv": (lambda path: path.write_text(csv_text({"until": lambda row: "31.12.9999" if row % 3 else f"{row % 28 + 1:02}.{row % 12 + 1:02}.2020", "day": lambda row: 20200100 + row % 28 + 1 if row % 4 else 0})), {"until": "date", "day": "date"}),
    "gaps.csv": (lambda path: path.write_text(csv_text({"day": lambda row: f"201901{row % 28 + 1:02}.0" if row % 7 else "", "three": lambda row: 3 if row % 5 else "?", "odd": lambda row: "unknown" if row % 3 else 7})), {"day": "date", "three": "boolean", "odd": "boolean"}),
    "rows.json": (lambda path: path.write_text(json.dumps([["a", "c", "y"], *([row * 2.5, "uv"[row % 2], YES_NO[row % 3]] for row in range(N))])), {"a": "number", "c": "category"}),
    "forms.csv": (lambda path: path.write_text(csv_text({"lap": lambda row: f"1:{20 + row % 30}.{row + 100}", "way": lambda row: f"{row % 9}h {row}m", "tall": lambda row: f"{5 + row % 2}'{row % 12}", "stars": lambda row: f"{row % 5}/5", "m": lambda row: f"{row}.3 ± 0.1"})), {"lap": "number", "way": "number", "tall": "number", "stars": "number", "m": "number"}),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_FILES)
def test_a_file_is_read_again_as_in_training(name: str, tmp_path: Path) -> None:
    write, kinds = ODD_FILES[name]
    write(tmp_path / name)
    table = ReadTable(tmp_path / name, "y")
    assert len(table.inputs) == N
    assert {column: table.kinds.get(column) for column in kinds} == kinds
    again, lines = table.of_file(tmp_path / name)
    assert again == table.cells
    assert not any("count as missing" in line or "did not have" in line for line in lines)
    text = reader.read_cells(tmp_path / name, known_names=("y",)) if name.endswith(".csv") else None
    if text is not None:
        records = [{column: row[column] for column in again} for row in text.to_pylist()]
        assert table.of_json(records) == table.cells
        assert table.of_csv(text.select(list(again)).to_pandas().to_csv(index=False)) == table.cells


def write_german(path: Path) -> Path:
    columns = {
        "Menge": lambda row: f"{row + 1}.{row + 100},5",
        "Datum": lambda row: f"{row % 28 + 1:02}.{row % 12 + 1:02}.2021",
        "PLZ": lambda row: ["01067", "80331"][row % 2],
        "Quote": lambda row: f"{row} %",
        "Aktiv": lambda row: ["ja", "nein"][row % 2],
    }
    path.write_text(csv_text(columns, ";"), encoding="cp1252")  # fmt: skip
    return path


def test_a_file_of_another_format_than_in_training_is_read(tmp_path: Path) -> None:
    table = ReadTable(write_german(tmp_path / "t.csv"), "y")
    rows = pd.DataFrame({
        "Menge": [1100.5, 7.0], "Datum": pd.to_datetime(["2021-02-01", "2021-12-15"]), "PLZ": ["01067", "80331"], "Quote": [5.0, 7.5], "Aktiv": ["ja", "nein"],
    })  # fmt: skip
    texts = rows.assign(Datum=["2021-02-01", "2021-12-15T00:00:00Z"])
    rows.to_parquet(tmp_path / "new.parquet")
    rows.to_excel(tmp_path / "new.xlsx", index=False)
    texts.to_json(tmp_path / "new.jsonl", orient="records", lines=True)
    (tmp_path / "upper.csv").write_text("Liste\n\nMENGE\tdatum\tplz \tQuote\taktiv\n1.100,5\t1.2.2021\t01067\t5 %\tja\n7\t15.12.2021\t80331\t7,5%\tnein\n", "utf-16")  # fmt: skip
    wanted = table.comparable(
        {
            "Menge": [1100.5, 7.0],
            "Datum": ["01.02.2021", "15.12.2021"],
            "PLZ": ["01067", "80331"],
            "Quote": [5.0, 7.5],
            "Aktiv": ["ja", "nein"],
        }
    )
    for name in ("new.parquet", "new.xlsx", "new.jsonl", "upper.csv"):
        assert table.of_file(tmp_path / name)[0] == wanted, name
    assert table.of_json(texts.to_dict("records")) == wanted
    assert (
        "names differ only in case or blanks are taken: MENGE, datum, plz"
        in table.of_file(tmp_path / "upper.csv")[1][-1]
    )


def test_an_answer_that_is_neither_yes_nor_no_is_named(tmp_path: Path) -> None:
    table = ReadTable(write_german(tmp_path / "t.csv"), "y")
    (tmp_path / "new.csv").write_text(
        "Menge;Datum;PLZ;Quote;Aktiv\n5,5;1.2.2021;01067;5 %;perhaps\n", "cp1252"
    )
    cells, lines = table.of_file(tmp_path / "new.csv")
    assert cells["Aktiv"] == [None]
    assert "Aktiv in row 1 ('perhaps')" in lines[-1]


@pytest.mark.parametrize(
    ("edits", "note"),
    [
        ({1001: 'yes,w2,"t1'}, "a quote without an end is left out: line 1002"),
        ({1001: 'yes,"w2,t1'}, "a quote without an end is left out: line 1002"),
        ({3: 'yes,"w2,t1'}, "a quote without an end is left out: line 4"),
        ({1001: 'yes,w2,"t1', 2001: 'yes,w2,"t1'}, "2 quotes without an end are left out: lines 1002, 2002"),
        ({1001: 'yes,5" w,t1'}, ""),
        ({1001: 'yes,"w, x","a\nb\nc"'}, ""),
        ({1001: 'yes,w,"a\nno,b,c\nd"'}, ""),
    ],
)
def test_a_quote_without_an_end_takes_no_rows_away(edits: dict[int, str], note: str, tmp_path: Path) -> None:
    lines = ["y,b,c", *(f"{YES_NO[row % 3]},w{row % 3},t{row % 5}" for row in range(3000))]
    for row, line in edits.items():
        lines[row] = line
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    content = reader.read(tmp_path / "t.csv")
    assert len(content.frame) == 3000
    assert content.notes == ((note,) if note else ())
    table = ReadTable(tmp_path / "t.csv", "y")
    cells, said = table.of_file(tmp_path / "t.csv")
    assert cells == table.cells
    assert not note or any(note in line for line in said)
