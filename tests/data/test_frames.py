"""A user's own table: what is found in it, what is said, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from mlctl.data.tables import user_table
from mlctl.data.tables.dialect import sniff
from mlctl.errors import BadDataError, UsageError

ROWS = 400


@pytest.fixture
def passengers() -> pd.DataFrame:
    """A table with every kind of column, gaps, and a target of two words."""
    rng = np.random.default_rng(1)
    words = np.array(["red", "blue", "old", "new", "fast", "slow", "warm", "cold"])
    age = rng.integers(1, 80, ROWS).astype(float)
    frame = pd.DataFrame({
        "PassengerId": np.arange(1, ROWS + 1),
        "age": age,
        "fare": [f"${one:,.2f}" for one in rng.uniform(1, 5000, ROWS)],
        "port": rng.choice(["Bonn", "Lyon", "Oslo"], ROWS),
        "member": rng.choice(["yes", "no"], ROWS),
        "booked": pd.Series(pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 700, ROWS), "D")).dt.strftime("%d.%m.%Y"),
        "remark": [" ".join(rng.choice(words, 5)) + f" {number}" for number in range(ROWS)],
        "ship": "Aurora",
        "code": [f"x{number:05d}" for number in range(ROWS)],
        "survived": np.where(age + rng.normal(0, 15, ROWS) > 40, "yes", "no"),
    })  # fmt: skip
    frame.loc[rng.random(ROWS) < 0.1, "age"] = np.nan
    return frame


def written(frame: pd.DataFrame, path: Path, **how: Any) -> Path:
    frame.to_csv(path, index=False, **how)
    return path


def test_kinds_are_found_and_said(passengers: pd.DataFrame, tmp_path: Path) -> None:
    data = user_table.read(written(passengers, tmp_path / "p.csv"), "survived", {})
    assert data.extra["columns"] == {
        "age": "number", "fare": "number", "port": "category", "member": "boolean", "booked": "date", "remark": "text",
    }  # fmt: skip
    assert data.extra["formats"] == {"booked": "%d.%m.%Y"}
    said = "\n".join(data.notes)
    assert "PassengerId (an id: each row has its own)" in said
    assert "ship (always the same)" in said
    assert "code (an id" in said
    assert "age (" in said
    assert "% gaps)" in said
    assert data.train.inputs["fare"].max() > 1000
    assert data.classes == ("no", "yes")


def test_splits_are_disjoint_whole_and_stratified(passengers: pd.DataFrame, tmp_path: Path) -> None:
    told = {"column.PassengerId": "number"}
    data = user_table.read(written(passengers, tmp_path / "p.csv"), "survived", told)
    assert data.test is not None
    parts = [set(split.inputs["PassengerId"]) for split in (data.train, data.validation, data.test)]
    assert set.union(*parts) == set(passengers["PassengerId"])
    assert sum(map(len, parts)) == ROWS
    whole = (passengers["survived"] == "yes").mean()
    for split in (data.train, data.validation, data.test):
        assert abs(split.targets.mean() - whole) < 0.02


def test_groups_stay_together(passengers: pd.DataFrame, tmp_path: Path) -> None:
    passengers["family"] = np.arange(ROWS) // 4
    passengers["copy"] = [f"f{one}" for one in passengers["family"]]
    data = user_table.read(written(passengers, tmp_path / "p.csv"), "survived", {"group": "family"})
    assert data.test is not None
    assert "family" not in data.train.inputs
    families = [set(split.inputs["copy"]) for split in (data.train, data.validation, data.test)]
    assert not families[0] & families[1]
    assert not (families[0] | families[1]) & families[2]


def test_the_newest_rows_are_the_test(passengers: pd.DataFrame, tmp_path: Path) -> None:
    data = user_table.read(written(passengers, tmp_path / "p.csv"), "survived", {"time": "booked"})
    assert data.test is not None
    newest = [
        pd.to_datetime(split.inputs["booked"], format="%d.%m.%Y")
        for split in (data.train, data.validation, data.test)
    ]
    assert newest[0].max() <= newest[1].min()
    assert newest[1].max() <= newest[2].min()


def test_a_kind_can_be_told(passengers: pd.DataFrame, tmp_path: Path) -> None:
    path = written(passengers, tmp_path / "p.csv")
    data = user_table.read(path, "survived", {"column.age": "category", "column.port": "drop"})
    assert data.extra["columns"]["age"] == "category"
    assert "port" not in data.train.inputs
    with pytest.raises(UsageError, match="no such column") as told:
        user_table.read(path, "survived", {"column.prot": "drop"})
    assert told.value.hint == "did you mean port?"
    with pytest.raises(UsageError, match="no kind of column"):
        user_table.read(path, "survived", {"column.port": "word"})


@pytest.mark.parametrize(
    ("how", "encoding", "delimiter", "decimal"),
    [
        ({"sep": ";", "decimal": ","}, "utf-8", ";", ","),
        ({"sep": "\t"}, "utf-8", "\t", "."),
        ({"encoding": "cp1252"}, "cp1252", ",", "."),
        ({"encoding": "utf-8-sig"}, "utf-8-sig", ",", "."),
        ({"encoding": "utf-16", "sep": ";"}, "utf-16", ";", "."),
    ],
)
def test_layouts(how: dict[str, Any], encoding: str, delimiter: str, decimal: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({
        "größe": rng.normal(10, 2, 100).round(3), "stadt": rng.choice(["Köln", "Zürich, Süd"], 100),
        "preis": rng.normal(100, 9, 100).round(2),
    })  # fmt: skip
    path = written(frame, tmp_path / "t.csv", **how)
    found = sniff(path)
    assert (found.encoding, found.delimiter, found.decimal, found.header) == (
        encoding,
        delimiter,
        decimal,
        True,
    )
    data = user_table.read(path, "preis", {})
    assert data.extra["columns"] == {"größe": "number", "stadt": "category"}
    assert set(data.train.inputs["stadt"]) == {"Köln", "Zürich, Süd"}
    assert not data.classes


def test_a_table_without_header(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60), "c": rng.integers(0, 2, 60)})
    path = written(frame, tmp_path / "t.csv", header=False)
    data = user_table.read(path, "c3", {})
    assert data.extra["columns"] == {"c1": "number", "c2": "number"}
    assert sum(data.splits.values()) == 60
    assert "without a header" in data.notes[0]


def test_years_as_headers_are_a_header(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["score", "2019", "2020"])
    assert sniff(written(frame, tmp_path / "t.csv")).header


def test_parquet_reads_as_csv_does(passengers: pd.DataFrame, tmp_path: Path) -> None:
    passengers["member"] = passengers["member"] == "yes"
    passengers["booked"] = pd.to_datetime(passengers["booked"], format="%d.%m.%Y")
    passengers.to_parquet(tmp_path / "p.parquet")
    data = user_table.read(tmp_path / "p.parquet", "survived", {})
    assert data.extra["columns"]["member"] == "boolean"
    assert data.extra["columns"]["booked"] == "date"


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (np.tile([0, 1], 50), "auto", ("0", "1")),
        (np.tile([1.0, 2.0, 3.0, 10.0], 25), "auto", ("1", "2", "3", "10")),
        (np.tile([1.0, 2.0, 3.0, 10.0], 25), "regression", ()),
        (np.arange(100) * 1.5, "auto", ()),
        (np.tile([True, False], 50), "auto", ("false", "true")),
    ],
)
def test_tasks(values: Any, task: str, classes: tuple[str, ...], tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=100), "y": values})
    assert user_table.read(written(frame, tmp_path / "t.csv"), "y", {"task": task}).classes == classes


def test_a_rare_class_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=1000), "y": np.where(np.arange(1000) % 25, "fine", "fraud")})
    data = user_table.read(written(frame, tmp_path / "t.csv"), "y", {})
    warning = next(note for note in data.notes if note.startswith("warning"))
    assert "class fraud is 4.06% of the rows" in warning
    assert "--set balance=true" in warning
    assert data.extra["share"][1] == pytest.approx(0.04, abs=0.002)


def test_a_column_that_gives_the_target_away_is_said(passengers: pd.DataFrame, tmp_path: Path) -> None:
    passengers["lifeboat"] = np.where(passengers["survived"] == "yes", "boarded", "none taken")
    notes = user_table.read(written(passengers, tmp_path / "p.csv"), "survived", {}).notes
    warned = [note for note in notes if note.startswith("warning")]
    assert len(warned) == 1
    assert "lifeboat alone explains 100.0%" in warned[0]


def test_a_price_in_another_currency_gives_the_price_away(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    price = rng.lognormal(5, 1, 600)
    frame = pd.DataFrame({"size": price * rng.normal(1, 0.5, 600), "yen": price * 160, "price": price})
    notes = user_table.read(written(frame, tmp_path / "p.csv"), "price", {}).notes
    assert [note.split()[1] for note in notes if note.startswith("warning")] == ["yen"]


@pytest.mark.parametrize(
    ("text", "target", "error", "said"),
    [
        ("", "y", BadDataError, "is empty"),
        ("a,b\n", "b", BadDataError, "no rows"),
        ("a,b\n" + "1,2\n" * 30, "c", UsageError, "no such column"),
        ("a,b\n" + "1,2\n2,2\n" * 30, "b", BadDataError, "always 2"),
        ("a,b\n" + "1,2\n2,3\n" * 5, "b", BadDataError, "10 rows"),
        ("a,b\n" + "".join(f"1,w{n}\n" for n in range(50)), "b", BadDataError, "no class"),
        ("a,b\n" + "1,x\n2,y\n" * 30 + "3,z\n", "b", BadDataError, "too few"),
        ('a,b\n1,2\n"1,2\n' + "1,2,3,4\n" * 9, "b", BadDataError, "no whole table|rows"),
        ("\x00\x01\x02" * 100, "b", BadDataError, "no text"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    text: str, target: str, error: Any, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=said):
        user_table.read(path, target, {})


def test_true_and_false_stay_what_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    whole, age = rng.integers(0, 2, ROWS) > 0, rng.normal(size=ROWS)
    gaps = pd.Series(whole).astype(object).where(rng.random(ROWS) > 0.1)
    frame = pd.DataFrame({"whole": whole, "gaps": gaps, "age": age, "y": (age > 0).astype(int)})
    frame["gaps"] = frame["gaps"].sample(frac=1, random_state=1).to_numpy()
    frame.to_parquet(tmp_path / "t.parquet")
    for path in (written(frame, tmp_path / "t.csv"), tmp_path / "t.parquet"):
        data = user_table.read(path, "y", {})
        assert data.extra["columns"] == {"whole": "boolean", "gaps": "boolean", "age": "number"}
        assert data.train.inputs["whole"].dtype == bool
        assert set(data.train.inputs["gaps"]) == {True, False, None}
        told = user_table.read(path, "y", {"column.whole": "category"})
        assert set(told.train.inputs["whole"]) == {
            True,
            False,
        }  # as a client sends them, whatever they are called


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,a,y\n" + "1,2,3,0\n2,3,4,1\n" * 20)
    with pytest.raises(BadDataError, match="columns 1 and 3 are both named 'a'"):
        user_table.read(tmp_path / "t.csv", "y", {})
    made = pyarrow.table([[1, 2], [3, 4], [0, 1]], names=["a", "a", "y"])
    pyarrow.parquet.write_table(made, tmp_path / "t.parquet")
    with pytest.raises(BadDataError, match="columns 1 and 2 are both named 'a'"):
        user_table.read(tmp_path / "t.parquet", "y", {})
