"""`mlctl predict` reads the cells of a file exactly as the training does."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.data.tables import user_table
from mlctl.errors import BadDataError
from mlctl.services.evaluation.inputs import InputBatch, read_batches
from mlctl.services.evaluation.predictor import PredictorInfo
from mlctl.serving.payloads.signature import ColumnSpec, ModelSignature
from mlctl.serving.payloads.tensors import TensorSpec
from tests.recording_listener import RecordingListener

pytestmark = pytest.mark.unit

ROWS = 300
TYPES = {"f": "double", "b": "boolean", "O": "string"}


def bookings() -> pd.DataFrame:
    """Return synthetic data like an export of a spreadsheet: columns of every type, some with gaps."""
    rng = np.random.default_rng(6)
    frame = pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "größe": rng.normal(170, 9, ROWS).round(2),
            "rate": [f"{percent}%" for percent in rng.integers(1, 90, ROWS)],
            "plan": rng.choice(["Café", "NA-2", "pro, large"], ROWS),
            "code": rng.choice(["1", "2", "x"], ROWS),
            "new": rng.choice(["yes", "no"], ROWS),
            "paid": rng.choice([True, False], ROWS),
            "since": [
                f"{pd.Timestamp('2021-01-01') + pd.Timedelta(days=days):%d.%m.%Y}"
                for days in rng.integers(0, 900, ROWS)
            ],
            "price": rng.normal(50, 9, ROWS).round(2),
        }
    )
    frame.loc[::7, "größe"] = np.nan
    frame.loc[::11, "plan"] = None
    return frame


def write_gzipped(frame: pd.DataFrame, path: Path) -> None:
    path.write_bytes(gzip.compress(frame.to_csv(index=False, sep="\t").encode()))


WRITERS: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    "plain.csv": lambda frame, path: frame.to_csv(path, index=False),
    "spreadsheet.csv": lambda frame, path: frame.to_csv(
        path, index=False, sep=";", decimal=",", encoding="cp1252", na_rep="-"
    ),
    "tabs.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t", encoding="utf-8-sig"),
    "zipped.tsv.gz": write_gzipped,
    "bare.csv": lambda frame, path: frame.to_csv(path, index=False, header=False),
    "columns.parquet": lambda frame, path: frame.to_parquet(path),
}


def info_of(data: Any) -> PredictorInfo:
    """Return the description of a model that was trained on this data."""
    rows = data.train.inputs
    return PredictorInfo(
        name="bookings",
        version="1",
        signature=ModelSignature(
            columns=tuple(
                ColumnSpec(name, TYPES[np.asarray(rows[name]).dtype.kind], not rows[name].isna().any())
                for name in rows
            )
        ),
        readings=data.extra["readings"],
        takes_gaps=True,
    )


@pytest.mark.parametrize("name", WRITERS)
def test_a_training_file_is_read_as_in_training(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](bookings(), path)
    target = "c9" if name == "bare.csv" else "price"
    data = user_table.load_table(path, target, {})
    trained = pd.concat([data.train.inputs, data.validation.inputs, data.test.inputs]).astype(object)
    listener = RecordingListener()
    batches = list(read_batches(info_of(data), [str(path)], size=64, listener=listener))
    assert [len(next(iter(batch.rows.values()))) for batch in batches] == [64, 64, 64, 64, ROWS - 4 * 64]
    read = pd.concat([pd.DataFrame(batch.rows, dtype=object) for batch in batches])[list(trained)]
    rows = [
        sorted(map(repr, table.where(table.notna(), None).itertuples(index=False, name=None)))
        for table in (read, trained)
    ]
    assert rows[0] == rows[1]
    unused = "c1, c9" if name == "bare.csv" else "id, price"
    assert listener.messages == [f"{name}: left out, because the model does not take them: {unused}"]


def batches_of(path: Path, *columns: ColumnSpec) -> list[InputBatch]:
    """Read a file for a model with these columns."""
    info = PredictorInfo(name="m", version="1", signature=ModelSignature(columns=columns))
    batches = list(read_batches(info, [str(path)], size=10, listener=RecordingListener()))
    for batch in batches:
        batch.load()
    return batches


def test_a_word_among_numbers_is_an_error_or_a_gap_as_in_training(tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("gappy,whole\n1,2\nodd,3\n")
    columns = (ColumnSpec("gappy", "double", False), ColumnSpec("whole", "double", True))
    (batch,) = batches_of(path, *columns)
    assert isinstance(batch.rows, dict)
    np.testing.assert_equal(batch.rows, {"gappy": [1.0, np.nan], "whole": [2.0, 3.0]})
    path.write_text("gappy,whole\n1,2\n3,odd\n")
    with pytest.raises(BadDataError, match='"odd" in row 2, column "whole" is not a number'):
        batches_of(path, *columns)
    path.write_text("other,names\n1,2\n")
    with pytest.raises(BadDataError, match="missing columns: whole"):
        batches_of(path, *columns)


def test_a_single_column_of_texts_is_not_split_at_delimiters(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("text\n" + "\n".join(f'"good; {number}, bad"' for number in range(9)))
    (batch,) = batches_of(path, ColumnSpec("text", "string", True))
    assert list(batch.rows["text"][:2]) == ["good; 0, bad", "good; 1, bad"]


def test_a_missing_text_is_answered_as_an_empty_one(tmp_path: Path) -> None:
    path, listener = tmp_path / "reviews.csv", RecordingListener()
    info = PredictorInfo(
        name="m", version="1", signature=ModelSignature(columns=(ColumnSpec("text", "string", True),))
    )
    for head, rest in (("text,stars", ",1"), ("text", "")):  # the second one is not read by Arrow
        path.write_text(f'{head}\n"a good film"{rest}\n""{rest}\nbad{rest}\n')
        (batch,) = read_batches(info, [str(path)], size=10, listener=listener)
        batch.load()
        assert list(batch.rows["text"]) == ["a good film", "", "bad"]
        assert "missing values where training had none count as missing: text in row 2" in "".join(
            listener.messages
        )
        listener.messages.clear()


def test_the_encoding_of_a_text_is_detected_as_in_training(tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("un café très bon".encode("latin-1"))
    (batch,) = batches_of(path, ColumnSpec("text", "string", True))
    assert batch.rows["text"] == ["un café très bon"]


PICTURES = ModelSignature(tensor=TensorSpec("uint8", (-1, 8, 8)))
COLUMNS = ModelSignature(columns=(ColumnSpec("rooms", "double", True),))
TEXTS = ModelSignature(columns=(ColumnSpec("text", "string", True),))


@pytest.mark.parametrize(
    ("name", "signature", "full_scale", "takes"),
    [
        ("notes.txt", PICTURES, 255.0, "images of 8 x 8 pixels"),
        ("rows.csv", PICTURES, 255.0, "images of 8 x 8 pixels"),
        ("junk.bin", PICTURES, 255.0, "images of 8 x 8 pixels"),
        ("rows.png", COLUMNS, None, "rows with the columns rooms"),
        ("rows.doc", COLUMNS, None, "rows with the columns rooms"),
        ("six.png", TEXTS, None, "texts"),
        ("six.png", ModelSignature(tensor=TensorSpec("float32", (-1, 5))), None, "arrays of 5 per row"),
    ],
)
def test_an_input_of_another_kind_says_what_the_model_takes(
    name: str, signature: ModelSignature, full_scale: float | None, takes: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("no such input")
    info = PredictorInfo(name="m", version="1", signature=signature, full_scale=full_scale)
    with pytest.raises(BadDataError, match=f"{re.escape(name)}: this model takes {takes}") as error:
        list(read_batches(info, [str(tmp_path / name)], size=10, listener=RecordingListener()))
    assert "name a file (." in error.value.hint
