"""Tables as other programs write them, and as people fill them: what is found in them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.data.tables import user_table
from mlctl.errors import BadDataError, UsageError

ROWS = 120
COUNT = np.arange(ROWS)
EVEN = np.where(COUNT % 2, "odd", "even")


def read(tmp_path: Path, text: str | bytes, target: str = "y", **options: str) -> Any:
    """Read a text as a table whose options are named with _ for the point."""
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return user_table.read(path, target, {name.replace("__", "."): value for name, value in options.items()})


def table(**columns: Any) -> pd.DataFrame:
    """Return a table of these columns, a number that is not to be dropped, and the target y."""
    return pd.DataFrame({"size": np.random.default_rng(1).normal(size=ROWS).round(3), **columns, "y": EVEN})


def all_rows(data: Any) -> pd.DataFrame:
    return pd.concat([data.train.inputs, data.validation.inputs, data.test.inputs])


def test_rows_that_begin_with_a_name_as_r_writes_them(tmp_path: Path) -> None:
    frame = table(kind=np.where(COUNT % 3, "p", "q"))
    plain = read(tmp_path, frame.to_csv(index=False))
    head, _, body = frame.to_csv(index=False).partition("\n")
    named = "\n".join(f'"row {n}",{line}' for n, line in enumerate(body.splitlines()))
    data = read(tmp_path, f"{head}\n{named}\n")
    assert "row names left out" in data.notes[0]
    pd.testing.assert_frame_equal(data.train.inputs, plain.train.inputs)
    trailing = "\n".join(line + "," for line in body.splitlines())
    pd.testing.assert_frame_equal(read(tmp_path, f"{head}\n{trailing}\n").train.inputs, plain.train.inputs)
    with pytest.raises(BadDataError, match="more cells than its header"):
        read(tmp_path, f"{head}\n" + "\n".join(line + ",1,2" for line in body.splitlines()))


@pytest.mark.parametrize("ends", ["\r", "\r\n"])
def test_any_end_of_line(ends: str, tmp_path: Path) -> None:
    data = read(tmp_path, table().to_csv(index=False).replace("\n", ends))
    assert len(all_rows(data)) == ROWS


def test_a_header_of_years_is_known_by_its_target(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"2019": rng.normal(size=ROWS), "2020": rng.normal(size=ROWS), "y": EVEN})
    frame.insert(0, "country", rng.choice(["a", "b"], ROWS))
    assert set(read(tmp_path, frame.to_csv(index=False)).extra["columns"]) == {"country", "2019", "2020"}


@pytest.mark.parametrize(
    ("cells", "told", "first"),
    [
        ((COUNT % 4 == 0).astype(int), "boolean", True),
        (np.where(COUNT % 4, "off", "on"), "boolean", "on"),
        (20240101 + COUNT % 28, "date", "20240101"),
        ([f"${n}.50" for n in COUNT], "number", 0.5),
        (COUNT % 3, "category", 0.0),
        (COUNT % 4 == 0, "category", True),
    ],
)
def test_a_kind_that_is_told_holds_what_was_there(cells: Any, told: str, first: Any, tmp_path: Path) -> None:
    data = read(tmp_path, table(x=cells).to_csv(index=False), column__x=told)
    found = all_rows(data)["x"]
    assert first in set(found)
    assert found.notna().all()
    assert found.nunique() == pd.Series(cells).nunique()


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (np.where(COUNT % 4, "nein", "ja"), "boolean"),
        (COUNT % 5, "boolean"),
        (np.where(COUNT % 4, "red", "blue"), "number"),
        (np.where(COUNT % 4, "red", "blue"), "date"),
        (COUNT + 0.25, "text"),
    ],
)
def test_a_kind_that_most_of_a_column_is_not_of_is_refused(cells: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"column.x={told}: it holds"):
        read(tmp_path, table(x=cells).to_csv(index=False), column__x=told)


def test_a_class_may_be_called_none(tmp_path: Path) -> None:
    frame = table()
    frame["y"] = np.choose(COUNT % 4, ["None", "Insomnia", "Apnea", "?"])
    frame.loc[:4, "y"] = "  "
    data = read(tmp_path, frame.to_csv(index=False))
    assert data.classes == ("Apnea", "Insomnia", "None")
    assert any("have no y ('?'): left out" in note for note in data.notes)
    frame["y"] = np.where(COUNT % 4, COUNT * 1.5, np.nan)
    data = read(tmp_path, frame.to_csv(index=False, na_rep="none"))
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
def test_numbers_as_people_write_them(cells: list[str], separator: str, tmp_path: Path) -> None:
    frame = table(price=cells)
    frame["size"] = COUNT % 7
    data = read(tmp_path, frame.to_csv(index=False, sep=separator))
    assert data.extra["columns"]["price"] == "number"
    found = all_rows(data)["price"].sort_index()
    assert found.notna().mean() >= 0.8
    assert found.max() in (119.5, 119119.75)


@pytest.mark.parametrize("format", ["%m/%d/%y", "%m/%d/%Y %I:%M %p", "mixed"])
def test_dates_as_people_write_them(format: str, tmp_path: Path) -> None:
    days = pd.Series(pd.Timestamp("2021-01-20 14:15") + pd.to_timedelta(COUNT, "D"))
    cells = days.dt.strftime("%d.%m.%Y" if format == "mixed" else format)
    if format == "mixed":
        cells = cells.where(COUNT % 5 > 0, days.dt.strftime("%Y-%m-%d"))
    data = read(tmp_path, table(when=cells).to_csv(index=False))
    assert data.extra["columns"]["when"] == "date"
    assert all_rows(data)["when"].notna().sum() == (ROWS * 4 // 5 if format == "mixed" else ROWS)


def test_a_column_may_have_any_name(tmp_path: Path) -> None:
    data = read(tmp_path, table(self=COUNT % 9, cls=COUNT % 8).to_csv(index=False))
    assert set(data.extra["columns"]) == {"size", "self", "cls"}


def test_test_rows_that_were_seen_in_training_are_said(tmp_path: Path) -> None:
    once = read(tmp_path, table().to_csv(index=False))
    assert not [note for note in once.notes if "stand in the training rows" in note]
    often = read(tmp_path, pd.concat([table()] * 4).to_csv(index=False))
    (note,) = [note for note in often.notes if "stand in the training rows" in note]
    assert note.startswith("warning: ")


def test_a_target_that_a_network_cannot_tell_apart_is_said(tmp_path: Path) -> None:
    for offset, warned in ((1.7e9, 1), (100, 0)):
        frame = table(kind=COUNT % 5)
        frame["y"] = offset + COUNT / 3
        said = read(tmp_path, frame.to_csv(index=False)).notes
        assert len([note for note in said if note.startswith("warning: y lies far from 0")]) == warned


def test_a_split_in_time_that_leaves_a_class_out_is_refused(tmp_path: Path) -> None:
    frame = table(t=COUNT)
    frame["y"] = np.where(COUNT < 100, "u", "v")
    with pytest.raises(BadDataError, match="time=t leaves no row of class 'v'"):
        read(tmp_path, frame.to_csv(index=False), time="t")
