"""A folder of prediction parts has every row once, wherever a kill tears what is being written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from mlctl.adapters.predict import prediction_parts
from mlctl.adapters.predict.prediction_parts import PredictionParts
from mlctl.errors import RefusedError

pytestmark = pytest.mark.unit

JOB = {"model": "M", "version": "1", "inputs": ["rows.csv"]}
BATCH, ROWS = 10, 95


def write_rows(parts: PredictionParts, stop: int = ROWS) -> None:
    """Write rows from where the folder ends to before `stop`, in batches."""
    for first in range(parts.rows, stop, BATCH):
        numbers = np.arange(first, min(stop, first + BATCH))
        labels = np.array([f"label {number % 3}" for number in numbers], object)
        parts.write(first, {"label": labels, "value": numbers / 7})


def complete(folder: Path) -> pd.DataFrame:
    """Run the job again, and return what the folder holds."""
    parts = PredictionParts(folder, JOB)
    write_rows(parts)
    parts.finish()
    assert {path.suffix for path in folder.iterdir()} == {".parquet"}
    return pd.read_parquet(folder)


def assert_every_row_once(rows: pd.DataFrame) -> None:
    assert rows["row"].tolist() == list(range(ROWS))
    assert rows["value"].tolist() == [number / 7 for number in range(ROWS)]
    assert rows["label"].tolist() == [f"label {number % 3}" for number in range(ROWS)]


def test_a_spool_file_may_be_torn_at_any_byte(tmp_path: Path) -> None:
    parts = PredictionParts(tmp_path / "whole", JOB)
    write_rows(parts, stop=40)
    parts.close()
    (spool,) = (tmp_path / "whole").glob("_spool*")
    content = spool.read_bytes()
    resumed = set()
    for number, size in enumerate([*range(0, len(content), 97), len(content) - 1, len(content)]):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", folder)
        (folder / spool.name).write_bytes(content[:size])
        resumed.add(PredictionParts(folder, JOB).rows)
        assert_every_row_once(complete(folder))
    assert resumed == {0, 10, 20, 30, 40}


def test_a_kill_between_a_part_and_the_removal_of_its_spool_file(tmp_path: Path) -> None:
    parts = PredictionParts(tmp_path / "out", JOB)
    write_rows(parts, stop=50)
    parts.close()
    (spool,) = (tmp_path / "out").glob("_spool*")
    content = spool.read_bytes()
    parts = PredictionParts(tmp_path / "out", JOB)
    parts._write_part()
    spool.write_bytes(content)
    (tmp_path / "out" / "_part.writing").write_bytes(b"PAR1")
    assert PredictionParts(tmp_path / "out", JOB).rows == 50
    assert_every_row_once(complete(tmp_path / "out"))


def test_parts_have_about_the_size_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_parts, "PART_BYTES", 200_000)
    parts, random = PredictionParts(tmp_path / "out", JOB), np.random.default_rng(0)
    for first in range(0, 100_000, 2_000):
        parts.write(first, {"value": random.normal(size=2_000)})
    parts.finish()
    sizes = [path.stat().st_size for path in sorted((tmp_path / "out").iterdir())]
    assert all(150_000 < size < 260_000 for size in sizes[:-1])
    assert len(sizes) < 10


def test_parts_of_an_earlier_version_are_continued(tmp_path: Path) -> None:
    (tmp_path / "_job.json").write_text(
        '{"model": "M", "version": "1", "inputs": ["rows.csv"], "batch_size": 1000}'
    )
    for first in (0, 10, 30):  # the second part is missing: the third is written again
        numbers = range(first, first + 10)
        columns = {
            "row": numbers,
            "label": [f"label {number % 3}" for number in numbers],
            "value": [number / 7 for number in numbers],
        }
        pyarrow.parquet.write_table(
            pyarrow.table(columns), tmp_path / f"part-{first:012}-{first + 10:012}.parquet"
        )
    assert PredictionParts(tmp_path, JOB).rows == 20
    assert_every_row_once(complete(tmp_path))
    with pytest.raises(RefusedError, match="already exists"):
        PredictionParts(tmp_path, JOB)
