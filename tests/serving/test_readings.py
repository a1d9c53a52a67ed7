"""`predict` and endpoints read cells as training read them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.domain.column_reading import ColumnReading
from mlctl.services.evaluation import inputs
from mlctl.services.evaluation.predictor import PredictorInfo
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.signature import ColumnSpec, ModelSignature
from mlctl.serving.payloads.tables import TableRules, check_columns
from mlctl.serving.prediction import RequestParser
from mlctl.serving.readings import read_readings, write_readings
from tests.recording_listener import RecordingListener

pytestmark = pytest.mark.unit

SIGNATURE = ModelSignature(
    columns=(
        ColumnSpec("km", "double", True),
        ColumnSpec("temp", "double", False),
        ColumnSpec("day", "string", True),
        ColumnSpec("town", "string", True),
        ColumnSpec("blocked", "boolean", True),
    )
)
READINGS = {
    "km": ColumnReading(
        kind="number", decimal=",", thousands=".", factors={"": 1.0, "km": 1.0}, unit="km", takes_texts=True
    ),
    "temp": ColumnReading(kind="number", sentinels=(-999.0,), low=0.0, high=40.0),
    "day": ColumnReading(kind="date", date_format="%d-%b-%y"),
    "town": ColumnReading(kind="category", categories=("Bonn", "Rome")),
    "blocked": ColumnReading(
        kind="boolean", true_words=("x", "true"), false_words=("false",), blank_is_false=True
    ),
}
HEADER = "km;temp;day;town;blocked\n"
INFO = PredictorInfo(name="m", version="1", signature=SIGNATURE, readings=READINGS, takes_gaps=True)
EXPECTED = {
    "km": [1234.0, 5.5, None, None],
    "temp": [20.5, None, None, 3.0],
    "day": ["20-Feb-19", None, "1-MAR-20", None],
    "town": ["Bonn", "Paris", None, "Rome"],
    "blocked": [True, False, False, True],
}
ROWS = "1.234 km;20.5;20-Feb-19;Bonn;X\n5,5;-999;soon;Paris;\nfar;;1-MAR-20;?;\n;3;;Rome;x\n"
LINES = [
    "missing values where training had none count as missing: km in row 4; day in row 4; town in row 3",
    "cells of another kind than in training count as missing: km in row 3 ('far'); day in row 2 ('soon')",
    "categories that training did not have: town in row 2 ('Paris')",
]


def plain(columns: Any) -> dict[str, list[Any]]:
    return {
        name: [None if cell is None or cell != cell else cell for cell in np.asarray(values, object).tolist()]
        for name, values in columns.items()
    }


def read_file(
    path: Path, *, info: PredictorInfo = INFO, size: int = 100
) -> tuple[dict[str, list[Any]], list[str]]:
    listener = RecordingListener()
    batches = list(inputs.read_batches(info, [str(path)], size=size, listener=listener))
    columns: dict[str, list[Any]] = {}
    for batch in batches:
        for name, values in plain(batch.rows).items():
            columns.setdefault(name, []).extend(values)
    return columns, listener.messages


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("size", [100, 2])
def test_a_file_is_read_as_training_read_it(encoding: str, size: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEADER + ROWS, encoding=encoding)
    columns, messages = read_file(path, size=size)
    assert columns == EXPECTED
    assert messages == [f"rows.csv: {line}" for line in LINES]


def test_typed_files_are_read_alike(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "km": [1234.0, 5.5], "temp": [20.5, -999.0], "day": pd.to_datetime(["2019-02-20", None]), "town": ["Bonn", "Rome"],
        "blocked": [True, False],
    })  # fmt: skip
    frame.to_parquet(tmp_path / "rows.parquet")
    columns, _ = read_file(tmp_path / "rows.parquet")
    assert columns == {
        "km": [1234.0, 5.5], "temp": [20.5, None], "day": ["20-Feb-19", None], "town": ["Bonn", "Rome"], "blocked": [True, False],
    }  # fmt: skip


def test_absent_columns_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("km;day;town;blocked\n\n1,5;20-Feb-19;Bonn;\n\n")
    columns, messages = read_file(path)
    assert (columns["km"], columns["temp"]) == ([1.5], [None])
    assert messages == ["rows.csv: columns that are not in the file count as missing: temp"]
    path.write_text("temp;day;town;blocked\n1,5;20-Feb-19;Bonn;\n")
    with pytest.raises(Exception, match="missing columns: km"):
        read_file(path)


def test_a_model_that_takes_no_gaps_refuses_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEADER + "1;2;20-Feb-19;Bonn;X\n;2;20-Feb-19;Bonn;X\n")
    info = PredictorInfo(name="m", version="1", signature=SIGNATURE, readings=READINGS)
    with pytest.raises(Exception, match='row 2, column "km"'):
        read_file(path, info=info)


def parser(*, strict: bool = False) -> RequestParser:
    model: Any = SimpleNamespace(
        signature=SIGNATURE,
        info=SimpleNamespace(by_mlctl=True),
        takes_gaps=True,
        full_scale=None,
        readings=READINGS,
    )
    return RequestParser(model, strict=strict)


def ask(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    document = {"dataframe_records": rows}
    call = parser().document(document, json.dumps(document).encode(), is_exact=True)
    assert call is not None
    return plain(call.inputs)


def test_json_texts_are_read_as_in_training() -> None:
    day, town = "20-Feb-19", "Bonn"
    rows = [
        {"km": "1.234 km", "temp": -999, "day": day, "town": town, "blocked": "X"},
        {"km": 1.5, "temp": 7, "day": day, "town": town, "blocked": False},
        {"km": "n.a.", "temp": None, "day": day, "town": town, "blocked": ""},
    ]
    assert ask(rows) == {
        "km": [1234.0, 1.5, None], "temp": [None, 7.0, None], "day": [day] * 3, "town": [town] * 3, "blocked": [True, False, False],
    }  # fmt: skip


def test_true_and_false_are_words_of_a_column_of_words() -> None:
    signature = ModelSignature(columns=(ColumnSpec("accident", "string", True),))
    rules = TableRules(readings={"accident": ColumnReading(kind="boolean")})
    checked = check_columns({"accident": [True, "nein", False]}, signature, 0, rules)
    assert checked["accident"].tolist() == ["true", "nein", "false"]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"km": "far"}, '"far" in row 0, column "km" is not a number'),
        ({"temp": "7"}, '"7" in row 0, column "temp" is not a number'),
        ({"blocked": "z"}, '"z" in row 0, column "blocked" is not true or false'),
        ({"town": 5}, '5 in row 0, column "town" is not a text'),
    ],
)
def test_other_values_are_refused(cell: dict[str, Any], message: str) -> None:
    row = {"km": 1.0, "temp": 2.0, "day": "20-Feb-19", "town": "Bonn", "blocked": True}
    with pytest.raises(RequestError) as error:
        ask([{**row, **cell}])
    assert error.value.message == message


def test_a_csv_body_is_read_as_in_training() -> None:
    body = 'km,temp,day,town,blocked\n"1.234,5 km",-999,20-Feb-19,Bonn,X\n7,.,20-Feb-19,?,\n'
    call = parser().file(body.encode(), "text/csv", 10_000)
    assert call is not None
    assert plain(call.inputs) == {
        "km": [1234.5, 7.0], "temp": [None, None], "day": ["20-Feb-19"] * 2, "town": ["Bonn", None], "blocked": [True, False],
    }  # fmt: skip
    with pytest.raises(RequestError, match='"far" in row 0, column "km" is not a number'):
        parser().file(b"km,temp,day,town,blocked\nfar,1,20-Feb-19,Bonn,X\n", "text/csv", 10_000)


def test_readings_are_stored_in_the_folder_of_a_model(tmp_path: Path) -> None:
    assert read_readings(tmp_path) == {}
    write_readings(READINGS, tmp_path)
    assert read_readings(tmp_path) == READINGS
