"""What columns are worth: those that decide are found, wherever in however wide a table they stand."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from mlctl.data.dataset import Dataset, Split
from mlctl.recipes import encoders as make
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.training import importance
from mlctl.serving.scoring import Table
from tests.trained import Seen

ROWS, COLUMNS, DECIDING = 150, 130, ("f110", "f120")


def wide() -> Split:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(ROWS, COLUMNS)), columns=[f"f{one}" for one in range(COLUMNS)])
    return Split(rows, (rows["f110"] + rows["f120"] > 0).to_numpy(np.int64))


def prepared(split: Split, steps: Any, wrapped: bool = False) -> PreparedData:
    encoder = make.table(split.inputs, steps)
    recipe: Any = SimpleNamespace(name="made")
    data = Dataset("made", split, split, classes=("no", "yes"))
    return PreparedData(recipe, {}, data, (lambda rows: encoder(rows)) if wrapped else encoder)  # type: ignore[arg-type]


def sure(width: int, places: tuple[int, ...], functional: bool = False) -> keras.Model:
    """Return a model that answers by the sum of these features alone."""
    kernel = np.zeros((width, 1), np.float32)
    kernel[list(places)] = 5
    if functional:
        given = keras.Input((width,))
        model = keras.Model(given, layers.Dense(1, activation="sigmoid")(given))
    else:
        model = keras.Sequential([keras.Input((width,)), layers.Dense(1, activation="sigmoid")])
    model.set_weights([kernel, np.zeros(1, np.float32)])
    return model


class Folder:
    """A recorder of files alone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kept = folder, []

    def artifact(self, path: str) -> Path:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        return self.folder / path

    def keep(self, path: str) -> None:
        self.kept.append(path)


@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "a recipe's own"])
def test_the_last_columns_of_a_wide_table_are_found_and_what_is_left_out_is_said(
    foreign: bool, tmp_path: Path
) -> None:
    split, seen, folder = wide(), Seen(), Folder(tmp_path)
    asked = prepared(split, make.number(*split.inputs), wrapped=foreign)
    importance.write(folder, asked, sure(COLUMNS, (110, 120), foreign), split, seen)  # type: ignore[arg-type]
    with (tmp_path / "importance.csv").open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == importance.MOST_COLUMNS
    assert {one["column"] for one in found[:2]} == set(DECIDING)
    assert all(float(one["accuracy_lost"]) > 0.2 for one in found[:2])
    assert all(float(one["accuracy_lost"]) == 0 for one in found[2:])
    assert folder.kept == ["importance.csv", "plots/importance.png"]
    assert seen.said == [
        "importance.csv has the 100 of 130 columns whose shuffling moves the answers most; the others are left out"
    ]


def test_only_a_columns_own_features_are_made_again_and_all_of_them() -> None:
    split = wide()
    rows = split.inputs[["f1", "f2", "f110", "f120"]]
    steps = [
        *make.number("f110"), *make.ratio("f1", by="f120"), *make.bins("f120", most=4),
        *make.waves("f110", "f2", 2, [0.5]),
    ]  # fmt: skip
    asked = prepared(Split(rows, split.targets), steps)
    encoder, model = asked.encoder, sure(1 + 1 + 4 + 6, tuple(range(12)))
    shuffled = importance._Shuffled(asked, model, Split(rows, split.targets))
    order = np.random.default_rng(2).permutation(ROWS)
    for name in rows:
        other = rows.assign(**{name: rows[name].to_numpy()[order]})
        np.testing.assert_allclose(shuffled(name, order), model(encoder(other)), atol=1e-5)
    parts = dict(importance._parts(encoder, rows))
    assert {name: list(part.places) for name, part in parts.items()} == {
        "f110": [0, 6, 7, 8, 9, 10, 11], "f1": [1], "f120": [1, 2, 3, 4, 5], "f2": [6, 7, 8, 9, 10, 11],
    }  # fmt: skip


def test_a_table_of_few_columns_has_all_of_them_and_says_nothing(tmp_path: Path) -> None:
    split, seen = wide(), Seen()
    few = Split(split.inputs[["f1", *DECIDING]].assign(spare=0.0), split.targets)
    asked = prepared(few, make.number("f1", *DECIDING))
    importance.write(Folder(tmp_path), asked, sure(3, (1, 2)), few, seen)  # type: ignore[arg-type]
    lines = (tmp_path / "importance.csv").read_text().splitlines()
    assert lines[0] == "column,accuracy_lost,spread"
    assert {line.partition(",")[0] for line in lines[1:3]} == set(DECIDING)
    assert sorted(lines[3:]) == ["f1,0,0", "spare,0,0"]
    assert not seen.said
    assert isinstance(asked.encoder, Table)
