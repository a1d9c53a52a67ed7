"""Tables as other programs and people write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.data.tables import user_table
from mlctl.errors import BadDataError, UsageError

pytestmark = pytest.mark.unit

ROWS = 120
COUNT = np.arange(ROWS)
EVEN = np.where(COUNT % 2, "odd", "even")


def load(tmp_path: Path, text: str | bytes, target: str = "y", **options: str) -> Any:
    """Load a text as a table; in the names of options, __ stands for a point."""
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return user_table.load_table(
        path, target, {name.replace("__", "."): value for name, value in options.items()}
    )


def make_table(**columns: Any) -> pd.DataFrame:
    """Return a table of these columns, a column of numbers, and the target y."""
    return pd.DataFrame({"size": np.random.default_rng(1).normal(size=ROWS).round(3), **columns, "y": EVEN})


def all_rows(data: Any) -> pd.DataFrame:
    return pd.concat([data.train.inputs, data.validation.inputs, data.test.inputs])


def test_row_names_of_r_are_left_out(tmp_path: Path) -> None:
    frame = make_table(kind=np.where(COUNT % 3, "p", "q"))
    plain = load(tmp_path, frame.to_csv(index=False))
    head, _, body = frame.to_csv(index=False).partition("\n")
    named = "\n".join(f'"row {n}",{line}' for n, line in enumerate(body.splitlines()))
    data = load(tmp_path, f"{head}\n{named}\n")
    assert "row names left out" in data.notes[0]
    pd.testing.assert_frame_equal(data.train.inputs, plain.train.inputs)
    trailing = "\n".join(line + "," for line in body.splitlines())
    pd.testing.assert_frame_equal(load(tmp_path, f"{head}\n{trailing}\n").train.inputs, plain.train.inputs)
    with pytest.raises(BadDataError, match="more cells than the header"):
        load(tmp_path, f"{head}\n" + "\n".join(line + ",1,2" for line in body.splitlines()))


@pytest.mark.parametrize("line_ending", ["\r", "\r\n"])
def test_any_line_ending_is_read(line_ending: str, tmp_path: Path) -> None:
    data = load(tmp_path, make_table().to_csv(index=False).replace("\n", line_ending))
    assert len(all_rows(data)) == ROWS


def test_a_header_of_years_is_detected_by_the_target(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"2019": rng.normal(size=ROWS), "2020": rng.normal(size=ROWS), "y": EVEN})
    frame.insert(0, "country", rng.choice(["a", "b"], ROWS))
    assert set(load(tmp_path, frame.to_csv(index=False)).extra["columns"]) == {"country", "2019", "2020"}


@pytest.mark.parametrize(
    ("cells", "set_type", "value"),
    [
        ((COUNT % 4 == 0).astype(int), "boolean", True),
        (np.where(COUNT % 4, "off", "on"), "boolean", "on"),
        (20240101 + COUNT % 28, "date", "20240101"),
        ([f"${n}.50" for n in COUNT], "number", 0.5),
        (COUNT % 3, "category", 0.0),
        (COUNT % 4 == 0, "category", True),
    ],
)
def test_a_set_type_keeps_all_values(cells: Any, set_type: str, value: Any, tmp_path: Path) -> None:
    data = load(tmp_path, make_table(x=cells).to_csv(index=False), column__x=set_type)
    values = all_rows(data)["x"]
    assert value in set(values)
    assert values.notna().all()
    assert values.nunique() == pd.Series(cells).nunique()


@pytest.mark.parametrize(
    ("cells", "set_type"),
    [
        (np.where(COUNT % 4, "rot", "blau"), "boolean"),
        (COUNT % 5, "boolean"),
        (np.where(COUNT % 4, "red", "blue"), "number"),
        (np.where(COUNT % 4, "red", "blue"), "date"),
        (COUNT + 0.25, "text"),
    ],
)
def test_a_type_that_most_cells_do_not_have_is_refused(cells: Any, set_type: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"column\.x={set_type}: (row \d+|the column) holds"):
        load(tmp_path, make_table(x=cells).to_csv(index=False), column__x=set_type)


def test_a_class_may_be_called_none(tmp_path: Path) -> None:
    frame = make_table()
    frame["y"] = np.choose(COUNT % 4, ["None", "Insomnia", "Apnea", "?"])
    frame.loc[:4, "y"] = "  "
    data = load(tmp_path, frame.to_csv(index=False))
    assert data.classes == ("Apnea", "Insomnia", "None")
    assert any("have no y ('?'): left out" in note for note in data.notes)
    frame["y"] = np.where(COUNT % 4, COUNT * 1.5, np.nan)
    data = load(tmp_path, frame.to_csv(index=False, na_rep="none"))
    assert not data.classes
    assert any("30 rows have no y ('none'): left out" in note for note in data.notes)


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        ([f"{n}.{n % 1000:03},75".removeprefix("0.") for n in COUNT], ";"),
        ([f"{n},5" for n in COUNT], ","),
        ([f"{n},5 €" for n in COUNT], ";"),
        (["on request" if n < 5 else f"{n}.5" for n in COUNT], ","),
    ],
)
def test_number_formats_are_read(cells: list[str], separator: str, tmp_path: Path) -> None:
    frame = make_table(price=cells)
    frame["size"] = COUNT % 7
    data = load(tmp_path, frame.to_csv(index=False, sep=separator))
    assert data.extra["columns"]["price"] == "number"
    prices = all_rows(data)["price"]
    assert prices.notna().mean() >= 0.8
    assert prices.max() in (119.5, 119119.75)


@pytest.mark.parametrize("format", ["%m/%d/%y", "%m/%d/%Y %I:%M %p", "mixed"])
def test_date_formats_are_read(format: str, tmp_path: Path) -> None:
    days = pd.Series(pd.Timestamp("2021-01-20 14:15") + pd.to_timedelta(COUNT, "D"))
    cells = days.dt.strftime("%d.%m.%Y" if format == "mixed" else format)
    if format == "mixed":
        cells = cells.where(COUNT % 5 > 0, days.dt.strftime("%Y-%m-%d"))
    data = load(tmp_path, make_table(when=cells).to_csv(index=False))
    assert data.extra["columns"]["when"] == "date"
    assert all_rows(data)["when"].notna().sum() == ROWS


def test_a_column_may_have_any_name(tmp_path: Path) -> None:
    data = load(tmp_path, make_table(self=COUNT % 9, cls=COUNT % 8).to_csv(index=False))
    assert set(data.extra["columns"]) == {"size", "self", "cls"}


def test_duplicates_of_training_rows_in_the_test_split_are_warned_of(tmp_path: Path) -> None:
    unique = load(tmp_path, make_table().to_csv(index=False))
    assert not [note for note in unique.notes if "also in the training rows" in note]
    repeated = load(tmp_path, pd.concat([make_table()] * 4).to_csv(index=False))
    (note,) = [note for note in repeated.notes if "also in the training rows" in note]
    assert note.startswith("warning: ")


def test_rows_that_are_equal_by_chance_are_no_copies(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.integers(0, 9, 400), "kind": rng.choice(["a", "b"], 400)})
    frame["y"] = np.where(frame["size"] > 4, "yes", "no")
    data = load(tmp_path, frame.to_csv(index=False))
    assert not [note for note in data.notes if "also in the training rows" in note]


def test_a_target_beyond_the_precision_of_a_network_is_warned_of(tmp_path: Path) -> None:
    for offset, warnings in ((1.7e9, 1), (100, 0)):
        frame = make_table(kind=COUNT % 5)
        frame["y"] = offset + COUNT / 3
        notes = load(tmp_path, frame.to_csv(index=False)).notes
        assert len([note for note in notes if note.startswith("warning: y varies little")]) == warnings


def test_a_split_by_time_without_a_class_in_training_is_refused(tmp_path: Path) -> None:
    frame = make_table(t=COUNT)
    frame["y"] = np.where(COUNT < 100, "u", "v")
    with pytest.raises(BadDataError, match="time=t leaves no training row of class 'v'"):
        load(tmp_path, frame.to_csv(index=False), time="t")
