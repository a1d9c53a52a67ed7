"""Importance of columns: those that decide are found, at any position in a table of any width."""

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
from mlctl.domain.outputs import classes
from mlctl.recipes import encoders
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.training import importance
from mlctl.serving.scoring import TableEncoder
from tests.recording_listener import RecordingListener

OUTPUTS = (classes("no", "yes"),)
ROWS, COLUMNS, DECIDING = 150, 130, ("f110", "f120")


def wide_split() -> Split:
    rng = np.random.default_rng(0)
    names = [f"f{number}" for number in range(COLUMNS)]
    rows = pd.DataFrame(rng.normal(size=(ROWS, COLUMNS)), columns=names)
    return Split(rows, (rows["f110"] + rows["f120"] > 0).to_numpy(np.int64))


def prepare(split: Split, steps: Any, *, wrapped: bool = False) -> PreparedData:
    """Return prepared data. With `wrapped`, its encoder is a function of which mlctl knows nothing."""
    table = encoders.table(split.inputs, steps)
    encoder: Any = (lambda rows: table(rows)) if wrapped else table
    recipe: Any = SimpleNamespace(name="made")
    values: Any = {}
    data = Dataset("made", split, split, classes=("no", "yes"))
    return PreparedData(recipe=recipe, values=values, data=data, encoder=encoder)


def summing_model(width: int, features: tuple[int, ...], *, functional: bool = False) -> keras.Model:
    """Return a model that predicts from the sum of these features alone."""
    kernel = np.zeros((width, 1), np.float32)
    kernel[list(features)] = 5
    if functional:
        inputs = keras.Input((width,))
        model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(inputs))
    else:
        model = keras.Sequential([keras.Input((width,)), layers.Dense(1, activation="sigmoid")])
    model.set_weights([kernel, np.zeros(1, np.float32)])
    return model


class FileRecorder:
    """Records files only."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.logged = folder, []
        self.journal = SimpleNamespace(header={"run_name": "first"})

    def artifact_path(self, path: str) -> Path:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        return self.folder / path

    def log_artifact(self, path: str) -> None:
        self.logged.append(path)


@pytest.mark.parametrize("unknown_encoder", [False, True], ids=["table encoder", "a recipe's own encoder"])
def test_deciding_columns_at_the_end_of_a_wide_table_are_found(unknown_encoder: bool, tmp_path: Path) -> None:
    split, listener, recorder = wide_split(), RecordingListener(), FileRecorder(tmp_path)
    importance.write(
        recorder,  # type: ignore[arg-type]
        prepare(split, encoders.number(*split.inputs), wrapped=unknown_encoder),
        model=summing_model(COLUMNS, (110, 120), functional=unknown_encoder),
        outputs=OUTPUTS,
        split=split,
        listener=listener,
    )
    with (tmp_path / "importance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == importance.MAX_COLUMNS
    assert {row["column"] for row in rows[:2]} == set(DECIDING)
    assert all(float(row["accuracy_lost"]) > 0.2 for row in rows[:2])
    assert all(float(row["accuracy_lost"]) == 0 for row in rows[2:])
    assert recorder.logged == ["importance.csv", "plots/importance.png", "plots/importance.svg"]
    assert listener.messages == [
        "importance.csv has only the 100 of 130 columns that change the answers most"
    ]


def test_all_features_of_a_column_and_no_others_are_encoded_again() -> None:
    split = wide_split()
    rows = split.inputs[["f1", "f2", "f110", "f120"]]
    steps = [
        *encoders.number("f110"),
        *encoders.ratio("f1", by="f120"),
        *encoders.bins("f120", most=4),
        *encoders.waves("f110", "f2", 2, [0.5]),
    ]
    prepared = prepare(Split(rows, split.targets), steps)
    encoder, model = prepared.encoder, summing_model(1 + 1 + 4 + 6, tuple(range(12)))
    shuffled = importance._ShuffledAnswers(prepared, model, Split(rows, split.targets), OUTPUTS)
    order = np.random.default_rng(2).permutation(ROWS)
    for name in rows:
        changed = rows.assign(**{name: rows[name].to_numpy()[order]})
        np.testing.assert_allclose(shuffled(name, order), model(encoder(changed)), atol=1e-5)
    parts = dict(importance._encoder_parts(encoder, rows))
    assert {name: list(part.features) for name, part in parts.items()} == {
        "f110": [0, 6, 7, 8, 9, 10, 11],
        "f1": [1],
        "f120": [1, 2, 3, 4, 5],
        "f2": [6, 7, 8, 9, 10, 11],
    }


def test_a_table_of_few_columns_has_all_of_them_and_sends_no_message(tmp_path: Path) -> None:
    split, listener = wide_split(), RecordingListener()
    narrow = Split(split.inputs[["f1", *DECIDING]].assign(spare=0.0), split.targets)
    prepared = prepare(narrow, encoders.number("f1", *DECIDING))
    importance.write(
        FileRecorder(tmp_path),  # type: ignore[arg-type]
        prepared,
        model=summing_model(3, (1, 2)),
        outputs=OUTPUTS,
        split=narrow,
        listener=listener,
    )
    lines = (tmp_path / "importance.csv").read_text().splitlines()
    assert lines[0] == "column,accuracy_lost,spread"
    assert {line.partition(",")[0] for line in lines[1:3]} == set(DECIDING)
    assert sorted(lines[3:]) == ["f1,0,0", "spare,0,0"]
    assert not listener.messages
    assert isinstance(prepared.encoder, TableEncoder)
