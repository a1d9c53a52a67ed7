"""Splits of a table that its owner gives: by a column, or by files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlctl.data import splits
from mlctl.data.tables import user_table
from mlctl.errors import BadDataError, UsageError

pytestmark = pytest.mark.unit

ROWS = 200


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=ROWS).round(4)
    return pd.DataFrame({"x": x, "w": rng.choice(["p", "q"], ROWS), "y": np.where(x > 0, "yes", "no")})


def write(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("train", "val", "test"), (100, 50, 50)),
        (("Training", "DEV", "Holdout"), (100, 50, 50)),
        (("train", "train", "test"), (120, 30, 50)),
        (("train", "valid", "train"), (120, 50, 30)),
    ],
)
def test_a_column_says_which_rows_are_which(
    frame: pd.DataFrame, names: tuple[str, ...], sizes: tuple[int, ...], tmp_path: Path
) -> None:
    frame["part"] = [names[0]] * 100 + [names[1]] * 50 + [names[2]] * 50
    data = user_table.load_table(write(frame, tmp_path / "t.csv"), "y", {"split": "part"})
    assert tuple(data.splits.values()) == sizes
    assert list(data.train.inputs) == ["x", "w"]
    if names[1] == "val":
        assert sorted(data.train.inputs["x"]) == sorted(frame["x"][:100])
    assert any("as part says" in note for note in data.notes)


def test_a_column_of_other_words_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = write(frame.assign(part=["train"] * 199 + ["later"]), tmp_path / "t.csv")
    with pytest.raises(BadDataError, match="split=part: row 200 has 'later', which names no split"):
        user_table.load_table(path, "y", {"split": "part"})
    with pytest.raises(UsageError, match="split= and group= cannot be used together"):
        user_table.load_table(path, "y", {"split": "part", "group": "w"})


def test_files_are_the_splits(frame: pd.DataFrame, tmp_path: Path) -> None:
    files = [
        write(frame[start:stop], tmp_path / f"{start}.csv")
        for start, stop in ((0, 120), (120, 160), (160, 200))
    ]
    data = user_table.load_table(files[0], "y", {}, validation=files[1], test=files[2])
    assert tuple(data.splits.values()) == (120, 40, 40)
    assert data.test is not None
    assert data.test.inputs["x"].tolist() == frame["x"][160:].tolist()
    assert data.split_seed is None
    assert data.sha256 != user_table.load_table(files[0], "y", {}).sha256
    only_test = user_table.load_table(files[0], "y", {}, test=files[2])
    assert tuple(only_test.splits.values()) == (96, 24, 40)
    with pytest.raises(BadDataError, match="has no column y, so it cannot score a model"):
        user_table.load_table(files[0], "y", {}, test=write(frame[["x", "w"]], tmp_path / "no.csv"))
    with pytest.raises(BadDataError, match="lacks the column w"):
        user_table.load_table(files[0], "y", {}, test=write(frame[["x", "y"]], tmp_path / "few.csv"))


def test_rows_of_a_rare_class_stay_in_training() -> None:
    classes = np.array([0] * 50 + [1] * 50 + [2] * 4)
    parts = splits.complete_splits(np.zeros(104, int), 7, classes)
    assert sum(map(len, parts)) == 104
    assert [int((classes[rows] == 2).sum()) for rows in parts] == [4, 0, 0]


def test_findings_can_be_asked_without_training(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame["copy"] = frame["y"]
    data = user_table.load_table(write(frame, tmp_path / "t.csv"), "y", {})
    leaks = [finding for finding in data.findings if finding.kind == "leak"]
    assert any("copy" in leak.columns for leak in leaks)
    assert all(leak.is_warning for leak in leaks)
    assert tuple(finding.note for finding in data.findings) == data.notes
