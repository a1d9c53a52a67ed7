"""A file that a model was trained on is a file that it can be asked with: both readings see the same cells."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.data.tables import user_table
from mlctl.errors import BadDataError
from mlctl.services.evaluation import inputs
from mlctl.services.evaluation.predictor import About
from mlctl.serving.signature import Column, Signature
from tests.trained import Seen

ROWS = 300
TYPES = {"f": "double", "b": "boolean", "O": "string"}


def bookings() -> pd.DataFrame:
    """Made up: what a spreadsheet exports, its columns of every kind, some with gaps."""
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({
        "id": np.arange(ROWS), "größe": rng.normal(170, 9, ROWS).round(2), "rate": [f"{one}%" for one in rng.integers(1, 90, ROWS)],
        "plan": rng.choice(["Café", "NA-2", "pro, large"], ROWS), "code": rng.choice(["1", "2", "x"], ROWS),
        "new": rng.choice(["yes", "no"], ROWS), "paid": rng.choice([True, False], ROWS),
        "since": pd.Series(pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 900, ROWS), "D")).dt.strftime("%d.%m.%Y"),
        "price": rng.normal(50, 9, ROWS).round(2),
    })  # fmt: skip
    frame.loc[::7, "größe"] = np.nan
    frame.loc[::11, "plan"] = None
    return frame


def _zipped(frame: pd.DataFrame, path: Path) -> None:
    path.write_bytes(gzip.compress(frame.to_csv(index=False, sep="\t").encode()))


WRITTEN: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    "plain.csv": lambda frame, path: frame.to_csv(path, index=False),
    "spreadsheet.csv": lambda frame, path: frame.to_csv(
        path, index=False, sep=";", decimal=",", encoding="cp1252", na_rep="-"
    ),
    "tabs.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t", encoding="utf-8-sig"),
    "zipped.tsv.gz": _zipped,
    "bare.csv": lambda frame, path: frame.to_csv(path, index=False, header=False),
    "columns.parquet": lambda frame, path: frame.to_parquet(path),
}


def about(data: Any) -> About:
    """Return what a model of this data says that it takes."""
    rows = data.train.inputs
    return About(
        "bookings",
        "1",
        signature=Signature(
            columns=tuple(
                Column(name, TYPES[np.asarray(rows[name]).dtype.kind], not rows[name].isna().any())
                for name in rows
            )
        ),
    )


@pytest.mark.parametrize("name", WRITTEN)
def test_a_training_file_is_an_input_as_it_is(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITTEN[name](bookings(), path)
    target = "c9" if name == "bare.csv" else "price"
    data = user_table.read(path, target, {})
    trained = pd.concat([data.train.inputs, data.validation.inputs, data.test.inputs]).astype(object)
    seen = Seen()
    found = list(inputs.batches(about(data), [str(path)], 64, seen))
    assert [len(next(iter(batch.rows.values()))) for batch in found] == [64, 64, 64, 64, ROWS - 4 * 64]
    read = pd.concat([pd.DataFrame(batch.rows, dtype=object) for batch in found])[list(trained)]
    rows = [
        sorted(map(repr, table.where(table.notna(), None).itertuples(index=False, name=None)))
        for table in (read, trained)
    ]
    assert rows[0] == rows[1]
    spare = "c1, c9" if name == "bare.csv" else "id, price"
    assert seen.said == [f"{name}: the model does not take {spare}: left out"]


def test_a_word_among_numbers_is_named_or_a_gap_as_in_training(tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("gappy,whole\n1,2\nodd,3\n")
    kinds = Signature(columns=(Column("gappy", "double", False), Column("whole", "double", True)))
    (batch,) = inputs.batches(About("m", "1", signature=kinds), [str(path)], 10, Seen())
    assert batch.rows == {"gappy": [1.0, None], "whole": [2.0, 3.0]}
    path.write_text("gappy,whole\n1,2\n3,odd\n")
    with pytest.raises(BadDataError, match='"odd" in row 1, column "whole" is not a number'):
        list(inputs.batches(About("m", "1", signature=kinds), [str(path)], 10, Seen()))
    path.write_text("other,names\n1,2\n")
    with pytest.raises(BadDataError, match="missing columns: whole"):
        list(inputs.batches(About("m", "1", signature=kinds), [str(path)], 10, Seen()))


def test_one_column_of_texts_is_cut_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("text\n" + "\n".join(f'"good; {number}, bad"' for number in range(9)))
    kinds = Signature(columns=(Column("text", "string", True),))
    (batch,) = inputs.batches(About("m", "1", signature=kinds), [str(path)], 10, Seen())
    assert batch.rows["text"][:2] == ["good; 0, bad", "good; 1, bad"]


def test_a_text_is_read_in_the_encoding_that_a_training_reads_it_in(tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("un café très bon".encode("latin-1"))
    kinds = Signature(columns=(Column("text", "string", True),))
    (batch,) = inputs.batches(About("m", "1", signature=kinds), [str(path)], 10, Seen())
    assert batch.rows["text"] == ["un café très bon"]
