"""The reader of tables: all formats give the same rows, as a whole and in batches."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mlctl.data.tables import reader
from mlctl.errors import BadDataError

pytestmark = pytest.mark.unit

FRAME = pd.DataFrame({"size": [1.5, 2.5, 3.5, 4.5, 5.5], "town": ["a", "b", None, "d", "e"]})


@pytest.fixture(params=[".csv", ".tsv", ".csv.gz", ".parquet", ".pq"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"table{request.param}"
    padded = FRAME.rename(columns={"town": " town "})  # names are stripped in every format
    if request.param in reader.PARQUET_SUFFIXES:
        padded.to_parquet(path)
    else:
        padded.to_csv(path, index=False, sep="\t" if request.param == ".tsv" else ",")
    return path


def test_every_format_is_read(table: Path) -> None:
    assert reader.is_table(table.name)
    frame = reader.read(table).frame
    pd.testing.assert_frame_equal(frame, FRAME, check_dtype=False)
    assert len(reader.read_head(table, rows=2)) == 2


def test_every_format_is_read_in_batches(table: Path) -> None:
    batches = list(reader.read_batches(table, 2, known_names=["town"], text_columns=["town"]))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    frame = pd.concat(batches, ignore_index=True)
    pd.testing.assert_frame_equal(frame, FRAME, check_dtype=False)


def test_only_parquet_files_give_their_number_of_rows(table: Path) -> None:
    assert reader.count_rows(table) == (5 if table.suffix in reader.PARQUET_SUFFIXES else None)


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(BadDataError, match="not a readable Parquet file"):
        reader.read(path)
    with pytest.raises(BadDataError, match="not a readable Parquet file"):
        next(reader.read_batches(path, 2, known_names=[], text_columns=[]))
