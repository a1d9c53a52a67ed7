"""Every format gives the same table."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pytest

from mlctl.data.tables import reader, user_table
from mlctl.errors import BadDataError, NotFoundError, UsageError
from mlctl.recipes.match_data import recipe_for

pytestmark = pytest.mark.unit

ROWS = 30
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({
    "age": RNG.integers(18, 80, ROWS), "colour": RNG.choice(["red", "blue"], ROWS),
    "x": RNG.normal(size=ROWS).round(3), "y": RNG.choice(["yes", "no"], ROWS),
})  # fmt: skip
CSV = FRAME.to_csv(index=False)
LINES = FRAME.to_json(orient="records", lines=True)


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("sub/t.csv", CSV)
        archive.writestr("__MACOSX/sub/._t.csv", "x")


def write_zst(path: Path) -> None:
    with pyarrow.CompressedOutputStream(str(path), "zstd") as file:
        file.write(CSV.encode())


def write_database(path: Path, *tables: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for table in tables or ("people",):
            FRAME.to_sql(table, connection, index=False)
        connection.commit()


def write_parts(folder: Path) -> None:
    folder.mkdir()
    FRAME[:10].to_csv(folder / "part-00000.csv", index=False)
    FRAME[10:].to_csv(folder / "part-00001.csv", index=False)
    (folder / "_SUCCESS").touch()
    (folder / ".part-00000.csv.crc").write_text("x")
    (folder / "part-00002.csv").touch()


def write_parts_without_header(folder: Path) -> None:
    folder.mkdir()
    FRAME[:10].to_csv(folder / "part-00000", index=False, header=False)
    (folder / "part-00000").rename(folder / "part-00000.csv")
    FRAME[10:].to_csv(folder / "part-00001.csv", index=False, header=False)


def write_workbook(path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "Read me"
    book.active.append(["a remark"])
    sheet = book.create_sheet("Data")
    sheet.append(["Survey of 2024"])
    sheet.append([])
    sheet.append(list(FRAME))
    for row in FRAME.itertuples(index=False):
        sheet.append([value.item() if hasattr(value, "item") else value for value in row])
    sheet.append(["Source: office"])
    book.create_sheet("More").append(["z", "y"])
    book["More"].append([1, 2])
    book.save(path)


FILES: dict[str, Callable[[Path], Any]] = {
    "t.csv": lambda path: path.write_text(CSV),
    "t.csv.gz": lambda path: path.write_bytes(gzip.compress(CSV.encode())),
    "t.csv.bz2": lambda path: path.write_bytes(bz2.compress(CSV.encode())),
    "t.csv.xz": lambda path: path.write_bytes(lzma.compress(CSV.encode())),
    "t.csv.zst": write_zst,
    "t.csv.zip": write_zip,
    "t.zip": write_zip,
    "t.tsv": lambda path: FRAME.to_csv(path, sep="\t", index=False),
    "t.txt": lambda path: FRAME.to_csv(path, sep="\t", index=False),
    "blanks.data": lambda path: path.write_text(FRAME.to_string(index=False)),
    "colons.dat": lambda path: path.write_text(FRAME.to_csv(index=False, sep="|").replace("|", "::")),
    "text.xls": lambda path: FRAME.to_csv(path, sep="\t", index=False),
    "records.json": lambda path: FRAME.to_json(path, orient="records"),
    "columns.json": lambda path: FRAME.to_json(path),
    "index.json": lambda path: FRAME.to_json(path, orient="index"),
    "split.json": lambda path: FRAME.to_json(path, orient="split"),
    "schema.json": lambda path: FRAME.to_json(path, orient="table", index=False),
    "lists.json": lambda path: path.write_text(json.dumps(FRAME.to_dict("list"))),
    "rows.json": lambda path: path.write_text(json.dumps([list(FRAME), *FRAME.to_numpy().tolist()])),
    "key.json": lambda path: path.write_text(
        json.dumps({"meta": {"n": 3}, "rows": FRAME.to_dict("records")})
    ),
    "lines.json": lambda path: path.write_text(LINES),
    "t.jsonl": lambda path: path.write_text(LINES),
    "t.ndjson.gz": lambda path: path.write_bytes(gzip.compress(LINES.encode())),
    "t.feather": FRAME.to_feather,
    "t.parquet": FRAME.to_parquet,
    "indexed.parquet": lambda path: FRAME.set_index("age").to_parquet(path),
    "shuffled.parquet": lambda path: FRAME.set_index(RNG.permutation(ROWS)).to_parquet(path),
    "t.db": write_database,
    "t.db::people": lambda path: write_database(path.parent / "t.db"),
    "two.db::People": lambda path: write_database(path.parent / "two.db", "people", "other"),
    "parts": write_parts,
    "t.xlsx": write_workbook,
    "t.xlsx::data": lambda path: write_workbook(path.parent / "t.xlsx"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_table(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    FILES[name](path)
    content = reader.read(path)
    pd.testing.assert_frame_equal(content.frame, FRAME, check_dtype=False)
    assert content.sha256 == reader.TableContent(frame=FRAME, description="").sha256
    assert len(reader.read_head(path, 5)) == 5
    assert recipe_for(str(path)) == "tabular"
    assert [len(batch) for batch in reader.read_batches(path, 20, known_names=[], text_columns=[])] == [
        20,
        10,
    ]
    assert reader.digest(path)[1] > 0


def test_new_formats_have_the_digest_of_their_cells(tmp_path: Path) -> None:
    digests = set()
    for name in ("t.csv.zip", "t.jsonl", "t.txt", "t.xlsx"):
        FILES[name](tmp_path / name)
        digests.add(reader.digest(tmp_path / name)[0])
    assert len(digests) == 1


def test_training_is_the_same_in_all_formats(tmp_path: Path) -> None:
    loaded = {}
    for name in ("t.csv.zip", "t.jsonl", "t.txt", "t.xlsx", "t.db::people"):
        FILES[name](tmp_path / name)
        loaded[name] = user_table.load_table(tmp_path / name, "y", {})
    first = loaded["t.jsonl"]
    for data in loaded.values():
        pd.testing.assert_frame_equal(data.train.inputs, first.train.inputs)
        assert data.train.targets.tolist() == first.train.targets.tolist()
        assert data.sha256 == first.sha256
    assert any("sheet 'Data' is read" in note for note in loaded["t.xlsx"].notes)


def test_an_index_with_a_name_is_a_column_and_said(tmp_path: Path) -> None:
    FILES["indexed.parquet"](tmp_path / "t.parquet")
    assert reader.read(tmp_path / "t.parquet").notes == ("the index is a column: age",)


def test_a_sheet_is_chosen_by_name_and_number(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    write_workbook(path)
    assert "sheet 'Data' is read, and not Read me, More" in reader.read(path).notes[-1]
    assert list(reader.read(path, sheet="more").frame) == ["z", "y"]
    assert list(reader.read(path, sheet="3").frame) == ["z", "y"]
    with pytest.raises(UsageError, match=r"sheet=Dta: .* has no such sheet") as caught:
        reader.read(path, sheet="Dta")
    assert "Data" in caught.value.hint


def test_a_table_of_a_database_is_named(tmp_path: Path) -> None:
    write_database(tmp_path / "t.db", "people", "other")
    with pytest.raises(UsageError, match="holds 2 tables: other, people") as caught:
        reader.read(tmp_path / "t.db")
    assert f"{tmp_path}/t.db::other" in caught.value.hint
    with pytest.raises(NotFoundError, match="has no table 'peple'") as missing:
        reader.read(tmp_path / "t.db::peple")
    assert "people" in missing.value.hint


def test_lists_become_columns_or_texts(tmp_path: Path) -> None:
    frame = pd.DataFrame({"v": [[1.0, 2.0, 3.0]] * 20, "tags": [["a", "b"], ["c"]] * 10, "y": [0, 1] * 10})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    for name in ("t.parquet", "t.jsonl"):
        content = reader.read(tmp_path / name)
        assert list(content.frame) == ["v_1", "v_2", "v_3", "tags", "y"]
        assert content.frame["tags"][0] == "a, b"
        assert content.notes[0] == "column v holds lists of 3 numbers: columns v_1 to v_3"


def test_objects_in_json_become_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [{"a": {"b": n, "c": {"d": "x"}}, "ok": n % 2 == 0, "when": None} for n in range(5)]
    path.write_text("\n".join(map(json.dumps, rows)))
    frame = reader.read(path).frame
    assert list(frame) == ["a.b", "a.c.d", "ok", "when"]
    assert frame["ok"].dtype.kind == "b"


def test_parts_without_a_header_have_the_same_columns(tmp_path: Path) -> None:
    write_parts_without_header(tmp_path / "parts")
    frame = reader.read(tmp_path / "parts").frame
    assert (list(frame), len(frame)) == (["c1", "c2", "c3", "c4"], ROWS)


def test_only_the_first_part_has_the_header(tmp_path: Path) -> None:
    lines = FRAME.to_csv(index=False).splitlines(keepends=True)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "xaa.csv").write_text("".join(lines[: ROWS // 2]))
    assert not reader.is_read_as_a_whole(tmp_path / "t")
    (tmp_path / "t" / "xab.csv").write_text("".join(lines[ROWS // 2 :]))
    content = reader.read(tmp_path / "t")
    assert (list(content.frame), len(content.frame)) == (list(FRAME), ROWS)
    assert content.notes == ("xab.csv has no header: its columns are those of xaa.csv",)
    assert reader.is_read_as_a_whole(tmp_path / "t")


def test_a_folder_name_of_a_part_is_a_column(tmp_path: Path) -> None:
    for year in ("2023", "2024"):
        (tmp_path / "t" / f"year={year}").mkdir(parents=True)
        FRAME.to_parquet(tmp_path / "t" / f"year={year}" / "0.parquet")
    assert reader.read(tmp_path / "t").frame["year"].tolist() == [2023] * ROWS + [2024] * ROWS
    FRAME.drop(columns="x").to_parquet(tmp_path / "t" / "other.parquet")
    content = reader.read(tmp_path / "t")
    assert content.frame["x"].isna().sum() == ROWS
    assert content.notes == ("other.parquet lacks columns, which are missing there: x, year",)
    FRAME[["x"]].rename(columns={"x": "z"}).to_parquet(tmp_path / "t" / "third.parquet")
    with pytest.raises(BadDataError, match=r"third\.parquet has other columns than .*: age, colour"):
        reader.read(tmp_path / "t")


def test_one_of_several_files_in_a_zip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "both.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/train.csv", CSV)
        archive.writestr("data/test.csv", "age\n1\n")
        archive.writestr("README.md", "read me")
    with pytest.raises(BadDataError, match=r"holds 2 files: train\.csv, test\.csv") as caught:
        reader.read(path)
    assert caught.value.hint == f"name one of them: {path}::train.csv"
    content = reader.read(Path(f"{path}::Train.csv"))
    pd.testing.assert_frame_equal(content.frame, FRAME, check_dtype=False)
    assert content.notes == ("train.csv is read, a file of both.zip",)
    assert recipe_for(f"{path}::train.csv") == "tabular"
    with pytest.raises(NotFoundError, match=r"holds no file 'tran\.csv'") as missing:
        reader.read(Path(f"{path}::tran.csv"))
    assert "train.csv" in missing.value.hint


def test_a_file_of_another_format_in_a_zip_is_read(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "t.parquet")
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.write(tmp_path / "t.parquet", "t.parquet")
    assert reader.read(tmp_path / "t.zip").frame.shape == FRAME.shape


def test_arrays_of_numpy_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, X=np.arange(60.0).reshape(20, 3), y=np.arange(20) % 2, names=np.array(["a", "b"] * 10))
    frame = reader.read(path).frame
    assert list(frame) == ["x1", "x2", "x3", "names", "y"] or list(frame) == ["x1", "x2", "x3", "y", "names"]
    assert recipe_for(str(path)) == "tabular"
    np.savez(path, x_train=np.zeros((12, 3)), x_test=np.ones((8, 3)), y_train=np.zeros(12), y_test=np.ones(8))
    assert reader.read(path).frame["y"].tolist() == [0] * 12 + [1] * 8
    np.savez(path, X=np.zeros((20, 8, 8)), y=np.arange(20) % 2)
    assert recipe_for(str(path)) == "images"


def test_arrays_have_names_classes_and_fields(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    names = np.array(["long", "wide"])
    np.savez(path, data=np.zeros((20, 2)), target=np.eye(3)[np.arange(20) % 3], feature_names=names)
    frame = reader.read(path).frame
    assert list(frame) == ["long", "wide", "target"]
    assert frame["target"].tolist() == [0, 1, 2] * 6 + [0, 1]
    records = np.array([(row * 1.5, f"c{row % 3}") for row in range(20)], dtype=[("a", "f8"), ("b", "U4")])
    np.savez(path, X=records, y=np.arange(20) % 2)
    assert list(reader.read(path).frame) == ["a", "b", "y"]
    np.savez(path, X=np.zeros((20, 2)), y=np.array(["a", "b"] * 10, dtype=object))
    with pytest.raises(BadDataError, match="holds Python objects"):
        reader.read(path)


def test_the_content_decides_if_the_name_is_wrong(tmp_path: Path) -> None:
    write_workbook(tmp_path / "real.xlsx")
    (tmp_path / "real.xlsx").rename(tmp_path / "t.csv")
    FRAME.to_parquet(tmp_path / "u.parquet")
    (tmp_path / "u.parquet").rename(tmp_path / "u.csv")
    for name in ("t.csv", "u.csv"):
        assert reader.read(tmp_path / name).frame.shape == FRAME.shape


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.json", b"{}", "holds no table"),
        ("t.json", b'"word"', "holds no table"),
        ("t.json", b"{", "is no JSON"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is no JSON"),
        ("t.feather", b"abc", "is not a readable Feather file"),
        ("t.parquet", b"abc", "is not a readable Parquet file"),
        ("t.xlsx", b"PK\x03\x04abc", "is not a readable spreadsheet"),
        ("t.db", b"\0abc", "is not a readable SQLite database"),
        ("t.npz", b"abc", "is not a readable .npz file"),
        ("t.zip", b"abc", "is not a readable zip file"),
        ("t.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "is a pointer of Git LFS"),
        ("t.csv.gz", b"abc", "cannot be read"),
        ("t.csv.zst", b"abc", "cannot be read"),
    ],
)
def test_damaged_files_are_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadDataError, match=message):
        reader.read(tmp_path / name)
