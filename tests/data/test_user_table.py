"""A user's own table: column types, task, splits, notes and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from mlctl.data.tables import user_table
from mlctl.data.tables.dialect import detect_dialect
from mlctl.errors import BadDataError, UsageError

pytestmark = pytest.mark.unit

ROWS = 400


@pytest.fixture
def passengers() -> pd.DataFrame:
    """A table with every column type, missing values, and a target of two words."""
    rng = np.random.default_rng(1)
    words = np.array(["red", "blue", "old", "new", "fast", "slow", "warm", "cold"])
    age = rng.integers(1, 80, ROWS).astype(float)
    frame = pd.DataFrame({
        "PassengerId": np.arange(1, ROWS + 1),
        "age": age,
        "fare": [f"${fare:,.2f}" for fare in rng.uniform(1, 5000, ROWS)],
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


def write_csv(frame: pd.DataFrame, path: Path, **format: Any) -> Path:
    frame.to_csv(path, index=False, **format)
    return path


def test_column_types_are_detected_and_described(passengers: pd.DataFrame, tmp_path: Path) -> None:
    data = user_table.load_table(write_csv(passengers, tmp_path / "p.csv"), "survived", {})
    assert data.extra["columns"] == {
        "age": "number", "fare": "number", "port": "category", "member": "boolean", "booked": "date", "remark": "text",
    }  # fmt: skip
    assert data.extra["formats"] == {"booked": "%d.%m.%Y"}
    notes = "\n".join(data.notes)
    assert "PassengerId (a row counter)" in notes
    assert "ship (always the same)" in notes
    assert "code (an id" in notes
    assert "age (" in notes
    assert "% missing)" in notes
    assert data.train.inputs["fare"].max() > 1000
    assert data.classes == ("no", "yes")


def test_splits_are_disjoint_complete_and_stratified(passengers: pd.DataFrame, tmp_path: Path) -> None:
    options = {"column.PassengerId": "number"}
    data = user_table.load_table(write_csv(passengers, tmp_path / "p.csv"), "survived", options)
    assert data.test is not None
    parts = [set(split.inputs["PassengerId"]) for split in (data.train, data.validation, data.test)]
    assert set.union(*parts) == set(passengers["PassengerId"])
    assert sum(map(len, parts)) == ROWS
    share = (passengers["survived"] == "yes").mean()
    for split in (data.train, data.validation, data.test):
        assert abs(split.targets.mean() - share) < 0.02


def test_groups_stay_in_one_split(passengers: pd.DataFrame, tmp_path: Path) -> None:
    passengers["family"] = np.arange(ROWS) // 4
    passengers["copy"] = [f"f{number}" for number in passengers["family"]]
    data = user_table.load_table(write_csv(passengers, tmp_path / "p.csv"), "survived", {"group": "family"})
    assert data.test is not None
    assert "family" not in data.train.inputs
    families = [set(split.inputs["copy"]) for split in (data.train, data.validation, data.test)]
    assert not families[0] & families[1]
    assert not (families[0] | families[1]) & families[2]


def test_the_newest_rows_are_the_test_split(passengers: pd.DataFrame, tmp_path: Path) -> None:
    data = user_table.load_table(write_csv(passengers, tmp_path / "p.csv"), "survived", {"time": "booked"})
    assert data.test is not None
    dates = [
        pd.to_datetime(split.inputs["booked"], format="%d.%m.%Y")
        for split in (data.train, data.validation, data.test)
    ]
    assert dates[0].max() <= dates[1].min()
    assert dates[1].max() <= dates[2].min()


def test_a_column_type_can_be_set(passengers: pd.DataFrame, tmp_path: Path) -> None:
    path = write_csv(passengers, tmp_path / "p.csv")
    data = user_table.load_table(path, "survived", {"column.age": "category", "column.port": "drop"})
    assert data.extra["columns"]["age"] == "category"
    assert "port" not in data.train.inputs
    with pytest.raises(UsageError, match="no such column") as caught:
        user_table.load_table(path, "survived", {"column.prot": "drop"})
    assert caught.value.hint == "did you mean port?"
    with pytest.raises(UsageError, match="unknown column type"):
        user_table.load_table(path, "survived", {"column.port": "word"})
    with pytest.raises(UsageError, match=r"date\.prot: the table has no such column"):
        user_table.load_table(path, "no such target", {"date.prot": "%Y"})
    with pytest.raises(UsageError, match=r"column\.survived: this column is no input"):
        user_table.load_table(path, "survived", {"column.survived": "category"})


@pytest.mark.parametrize(
    ("format", "encoding", "delimiter"),
    [
        ({"sep": ";", "decimal": ","}, "utf-8", ";"),
        ({"sep": "\t"}, "utf-8", "\t"),
        ({"encoding": "cp1252"}, "cp1252", ","),
        ({"encoding": "utf-8-sig"}, "utf-8-sig", ","),
        ({"encoding": "utf-16", "sep": ";"}, "utf-16", ";"),
    ],
)
def test_dialects_are_detected(format: dict[str, Any], encoding: str, delimiter: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({
        "größe": rng.normal(10, 2, 100).round(3), "stadt": rng.choice(["Köln", "Zürich, Süd"], 100),
        "preis": rng.normal(100, 9, 100).round(2),
    })  # fmt: skip
    path = write_csv(frame, tmp_path / "t.csv", **format)
    dialect = detect_dialect(path)
    assert (dialect.encoding, dialect.delimiter, dialect.header) == (encoding, delimiter, True)
    data = user_table.load_table(path, "preis", {})
    assert data.extra["columns"] == {"größe": "number", "stadt": "category"}
    assert set(data.train.inputs["stadt"]) == {"Köln", "Zürich, Süd"}
    assert not data.classes


def test_a_table_without_a_header(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60), "c": rng.integers(0, 2, 60)})
    path = write_csv(frame, tmp_path / "t.csv", header=False)
    data = user_table.load_table(path, "c3", {})
    assert data.extra["columns"] == {"c1": "number", "c2": "number"}
    assert sum(data.splits.values()) == 60
    assert "without a header" in data.notes[0]


def test_years_can_be_column_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["score", "2019", "2020"])
    assert detect_dialect(write_csv(frame, tmp_path / "t.csv")).header


def test_parquet_has_the_same_column_types(passengers: pd.DataFrame, tmp_path: Path) -> None:
    passengers["member"] = passengers["member"] == "yes"
    passengers["booked"] = pd.to_datetime(passengers["booked"], format="%d.%m.%Y")
    passengers.to_parquet(tmp_path / "p.parquet")
    data = user_table.load_table(tmp_path / "p.parquet", "survived", {})
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
def test_the_task_is_detected(values: Any, task: str, classes: tuple[str, ...], tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=100), "y": values})
    assert user_table.load_table(write_csv(frame, tmp_path / "t.csv"), "y", {"task": task}).classes == classes


def test_a_rare_class_is_warned_of(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=1000), "y": np.where(np.arange(1000) % 25, "fine", "fraud")})
    data = user_table.load_table(write_csv(frame, tmp_path / "t.csv"), "y", {})
    warning = next(note for note in data.notes if note.startswith("warning"))
    assert "class fraud is 4.06% of the rows" in warning
    assert "--set class_weight=balanced" in warning
    assert data.extra["share"][1] == pytest.approx(0.04, abs=0.002)


def test_a_column_of_weights_is_no_input(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=200), "w": np.arange(200) / 10, "y": np.arange(200) % 2})
    path = write_csv(frame, tmp_path / "t.csv")
    data = user_table.load_table(path, "y", {"weight": "w"})
    assert list(data.train.inputs) == ["x"]
    assert data.train.weights.dtype == np.float32
    assert sum(split.weights.sum() for split in (data.train, data.validation, data.test)) == pytest.approx(
        1990
    )
    assert "weights of rows: column w" in data.notes
    assert user_table.load_table(path, "y", {}).train.weights is None


def test_weights_have_the_decimal_sign_of_their_table(tmp_path: Path) -> None:
    rows = [f"{n},25;{n % 4},500;{n % 2}" for n in range(200)]
    path = tmp_path / "t.csv"
    path.write_text("x;w;y\n" + "\n".join(rows) + "\n")
    data = user_table.load_table(path, "y", {"weight": "w"})
    assert set(data.train.weights.tolist()) == {0.5, 1.5, 2.5, 3.5}


@pytest.mark.parametrize(
    ("cells", "weight", "message"),
    [
        (np.arange(200) - 5, "w", "below 0"),
        (np.zeros(200), "w", "no value above 0"),
        (["much"] * 199 + ["1"], "w", "no number"),
        (np.ones(200), "y", "also another option's column"),
        (np.ones(200), "weigth", "weigth"),
    ],
)
def test_other_columns_of_weights_are_refused(cells: Any, weight: str, message: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"x": np.random.default_rng(0).normal(size=200), "w": cells, "y": np.arange(200) % 2}
    )
    with pytest.raises((BadDataError, UsageError), match=message):
        user_table.load_table(write_csv(frame, tmp_path / "t.csv"), "y", {"weight": weight})


def test_a_column_that_reveals_the_target_is_warned_of(passengers: pd.DataFrame, tmp_path: Path) -> None:
    passengers["lifeboat"] = np.where(passengers["survived"] == "yes", "boarded", "none taken")
    notes = user_table.load_table(write_csv(passengers, tmp_path / "p.csv"), "survived", {}).notes
    warnings = [note for note in notes if note.startswith("warning")]
    assert len(warnings) == 1
    assert "lifeboat alone explains 100.0%" in warnings[0]


def test_a_price_in_another_currency_reveals_the_price(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    price = rng.lognormal(5, 1, 600)
    frame = pd.DataFrame({"size": price * rng.normal(1, 0.5, 600), "yen": price * 160, "price": price})
    notes = user_table.load_table(write_csv(frame, tmp_path / "p.csv"), "price", {}).notes
    assert [note.split()[1] for note in notes if note.startswith("warning")] == ["yen"]


@pytest.mark.parametrize(
    ("text", "target", "error", "message"),
    [
        ("", "y", BadDataError, "is empty"),
        ("a,b\n" + "1,\n2,\n" * 30, "b", BadDataError, "the target b is empty"),
        ("a,b\n", "b", BadDataError, "no rows"),
        ("a,b\n" + "1,2\n" * 30, "c", UsageError, "no such column"),
        ("a,b\n" + "1,2\n2,2\n" * 30, "b", BadDataError, "always 2"),
        ("a,b\n" + "1,2\n2,3\n" * 5, "b", BadDataError, "10 rows"),
        ("a,b\n" + "".join(f"1,w{n}\n" for n in range(50)), "b", BadDataError, "too many for classes"),
        ("a,b\n" + "1,x\n" * 30 + "3,y\n", "b", BadDataError, "1 classes with at least 5"),
        ('a,b\n1,2\n"1,2\n' + "1,2,3,4\n" * 9, "b", BadDataError, "not a complete table|rows"),
        ("\x00\x01\x02" * 100, "b", BadDataError, "not a text file"),
    ],
)
def test_an_unsuitable_table_is_refused(
    text: str, target: str, error: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        user_table.load_table(path, target, {})


def test_true_and_false_stay_booleans(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    complete, age = rng.integers(0, 2, ROWS) > 0, rng.normal(size=ROWS)
    gaps = pd.Series(complete).astype(object).where(rng.random(ROWS) > 0.1)
    frame = pd.DataFrame({"complete": complete, "gaps": gaps, "age": age, "y": (age > 0).astype(int)})
    frame["gaps"] = frame["gaps"].sample(frac=1, random_state=1).to_numpy()
    frame.to_parquet(tmp_path / "t.parquet")
    for path in (write_csv(frame, tmp_path / "t.csv"), tmp_path / "t.parquet"):
        data = user_table.load_table(path, "y", {})
        assert data.extra["columns"] == {"complete": "boolean", "gaps": "boolean", "age": "number"}
        assert data.train.inputs["complete"].dtype == bool
        assert set(data.train.inputs["gaps"]) == {True, False, None}
        as_category = user_table.load_table(path, "y", {"column.complete": "category"})
        assert set(as_category.train.inputs["complete"]) == {
            True,
            False,
        }  # as a client sends them, whatever the type is called


def test_of_two_columns_with_the_same_name_the_second_is_renamed(tmp_path: Path) -> None:
    rows = [(n % 5, n % 7, n % 3, n % 2) for n in range(40)]
    (tmp_path / "t.csv").write_text("a,b,a,y\n" + "".join(f"{a},{b},{c},{y}\n" for a, b, c, y in rows))
    table = pyarrow.table(list(zip(*rows, strict=True)), names=["a", "b", "a", "y"])
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        data = user_table.load_table(tmp_path / name, "y", {})
        assert set(data.extra["columns"]) == {"a", "b", "a_2"}
        assert "several columns are named 'a': column 3 is a_2" in data.notes
