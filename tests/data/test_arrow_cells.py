"""Arrow reads the cells of a table as pandas does for training, or leaves the table to pandas."""

from __future__ import annotations

import gzip
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from mlctl.data.tables import arrow_arrays, arrow_batches
from mlctl.data.tables.arrow_cells import to_cells
from mlctl.data.tables.dialect import detect_dialect
from mlctl.domain.missing_values import MISSING_WORDS
from mlctl.errors import BadDataError
from mlctl.services.evaluation import table_inputs
from mlctl.services.evaluation.inputs import read_batches
from mlctl.services.evaluation.predictor import PredictorInfo
from mlctl.serving.payloads.signature import ColumnSpec, ModelSignature
from tests.recording_listener import RecordingListener

pytestmark = pytest.mark.unit

SIGNATURE = ModelSignature(
    columns=(
        ColumnSpec("size", "double", False),
        ColumnSpec("small", "float", False),
        ColumnSpec("count", "long", False),
        ColumnSpec("town", "string", False),
        ColumnSpec("paid", "boolean", False),
    )
)
NUMBERS = [
    "1",
    "-2.50",
    "1e3",
    " 7 ",
    "NA",
    "",
    "$1,234.50",
    "12 %",
    "odd",
    "-",
    "inf",
    ".5",
    "3.",
    "+4",
    "0x10",
    "1_0",
    "٣",
]
COUNTS = ["1", "-2", "9007199254740993", "NA", "", "1e3", " 7"]
TOWNS = ["a", " b ", "NA", "", "c, d", 'say "x"', "ü", "N/A", "1.0", "line\nbreak", "missing"]
TRUTHS = ["true", "False", "TRUE", "", "1", "0", "NA"]


def table_of(rows: int, seed: int) -> pd.DataFrame:
    """Return rows of odd cells."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            name: rng.choice(np.array(cells, object), rows)
            for name, cells in {
                "size": NUMBERS, "other": TOWNS, "small": NUMBERS[:6], "count": COUNTS, "town": TOWNS, "paid": TRUTHS,
            }.items()
        }
    )  # fmt: skip


def read(path: Path, size: int = 7) -> dict[str, list[Any]]:
    """Return the checked columns of a file, None for a missing value."""
    info = PredictorInfo(name="m", version="1", signature=SIGNATURE)
    batches: list[Any] = [
        load() for _, load in table_inputs.read_table(info, path, size=size, listener=RecordingListener())
    ]
    return {
        name: [None if value != value else value for batch in batches for value in batch[name].tolist()]
        for name in SIGNATURE.names
    }


def with_pandas(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Return the same, read with pandas, cell by cell as texts."""
    with monkeypatch.context() as patch:
        patch.setattr(arrow_batches, "is_plain", lambda *_: False)
        return read(path, size=1)


@pytest.mark.parametrize("seed", range(6))
def test_a_text_table_is_read_as_pandas_reads_it(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("rows.csv.gz" if seed % 2 else "rows.csv")
    content = table_of(40, seed).to_csv(index=False, sep=",;\t"[seed % 3])
    path.write_bytes(gzip.compress(content.encode()) if seed % 2 else content.encode())
    assert arrow_batches.is_plain(path, detect_dialect(path, known_names=SIGNATURE.names))
    monkeypatch.setattr(arrow_batches, "BLOCK_BYTES", 600)
    assert read(path) == with_pandas(path, monkeypatch)


@pytest.mark.parametrize(
    "content",
    [
        'size,town\n1, "a, b"\n', "size,town\n1,caf\xe9\n", "size\n1\n\n2\n", "1,a\n2,b\n",
    ],
)  # fmt: skip
def test_tables_that_only_pandas_reads(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content.encode("latin-1"))
    dialect = detect_dialect(path, known_names=["size"])
    assert not (arrow_batches.is_plain(path, dialect) and len(arrow_batches.csv_names(path, dialect)) > 1)


def test_pandas_reads_on_where_arrow_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_batches, "BLOCK_BYTES", 200)
    path = tmp_path / "rows.csv"
    lines = [f"{number},2.5,3,town{number},true" for number in range(60)]
    lines[45] = "45,2.5"  # too short for Arrow
    path.write_text("size,small,count,town,paid\n" + "\n".join(lines) + "\n")
    found = read(path)
    assert found["size"] == list(range(60))
    assert found["town"][45] is None
    assert found["town"][59] == "town59"


def test_a_parquet_file_has_numbers_of_every_type(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    columns = {
        "size": pa.array([1, None, 3], pa.int32()),
        "small": pa.array([1.5, float("inf"), None], pa.float32()),
        "count": pa.array([2**53 + 1, None, -1], pa.int64()),
        "town": pa.array(["NA", " b ", None]).dictionary_encode(),
        "paid": pa.array([True, None, False]),
    }
    pyarrow.parquet.write_table(pa.table(columns), path)
    found = read(path)
    assert found == {
        "size": [1.0, None, 3.0],
        "small": [1.5, None, None],
        "count": [2**53 + 1, None, -1],
        "town": ["NA", "b", None],
        "paid": [True, None, False],
    }


def test_the_first_wrong_cell_of_a_required_column_is_named_by_its_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("size,town\n" + "1,a\n" * 30 + "odd,b\n")
    signature = ModelSignature(
        columns=(ColumnSpec("size", "double", True), ColumnSpec("town", "string", True))
    )
    info = PredictorInfo(name="m", version="1", signature=signature)
    batches = read_batches(info, [str(path)], size=8, listener=RecordingListener())
    with pytest.raises(BadDataError, match='"odd" in row 31, column "size" is not a number'):
        list(map(attrgetter("rows"), batches))


def test_arrays_are_converted_without_pandas() -> None:
    words = ["", "ü", "two words", *sorted(MISSING_WORDS)]
    assert arrow_arrays.text_array(words).to_pylist() == words
    for numbers in (np.arange(9), np.arange(9, dtype=np.float32)[::2], np.array([True, False])):
        array = arrow_arrays.number_array(numbers)
        assert array.to_pylist() == numbers.tolist()
        assert np.array_equal(arrow_arrays.to_numpy(array[1:]), numbers[1:])
    with_gap = pa.array([1.0, None])
    np.testing.assert_equal(arrow_arrays.to_numpy(with_gap), [1.0, np.nan])
    assert arrow_arrays.to_numpy(pa.array([], pa.int64())).tolist() == []
    cells = to_cells(pa.array(["7", "8"]), "double", required=True, from_text=True)
    assert isinstance(cells, np.ndarray)
