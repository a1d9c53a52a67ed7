"""An endpoint reads a CSV body as `mlctl predict` reads the same file, and as training read its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas._libs.parsers import STR_NA_VALUES

from mlctl.data.tables import convert_cells
from mlctl.domain import missing_values
from mlctl.services.evaluation import inputs
from mlctl.services.evaluation.predictor import PredictorInfo
from mlctl.serving.payloads import tables
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.signature import ColumnSpec, ModelSignature
from mlctl.serving.payloads.table_files import columns_from_csv
from tests.recording_listener import RecordingListener

pytestmark = pytest.mark.unit

SIGNATURE = ModelSignature(
    columns=(
        ColumnSpec("age", "double", False),
        ColumnSpec("plan", "string", False),
        ColumnSpec("paid", "boolean", False),
        ColumnSpec("town", "string", True),
    )
)


STRICT = tables.TableRules(extra=False, gaps=frozenset())


def to_lists(columns: tables.Columns) -> dict[str, list[Any]]:
    return {
        name: [None if cell is None or cell != cell else cell for cell in cells.tolist()]
        for name, cells in columns.items()
    }


def read_body(
    text: str, *, by_mlctl: bool = True, rules: tables.TableRules = tables.LENIENT
) -> dict[str, list[Any]]:
    return to_lists(columns_from_csv(text.encode(), SIGNATURE, by_mlctl=by_mlctl, rules=rules))


def read_file(text: str, folder: Path) -> dict[str, list[Any]]:
    (folder / "rows.csv").write_text(text)
    (batch,) = inputs.read_batches(
        PredictorInfo(name="m", version="1", signature=SIGNATURE),
        [str(folder / "rows.csv")],
        size=100,
        listener=RecordingListener(),
    )
    assert isinstance(batch.rows, dict)
    return to_lists(batch.rows)


def test_cells_are_trimmed_and_missing_words_recognised(tmp_path: Path) -> None:
    text = 'age, plan, paid, town\n39, pro, True, "Bern, old"\n ?, ?, False, Rome \n-, na, True, Oslo\n1, "free ", , Rome\n'
    assert (
        read_body(text)
        == read_file(text, tmp_path)
        == {
            "age": [39.0, None, None, 1.0],
            "plan": ["pro", None, None, "free"],
            "paid": [True, False, True, None],
            "town": ["Bern, old", "Rome", "Oslo", "Rome"],
        }
    )


@pytest.mark.parametrize("word", sorted(missing_values.MISSING_WORDS))
def test_every_missing_word_counts_in_both(word: str, tmp_path: Path) -> None:
    text = f"age,plan,paid,town\n{word},{word},true,Rome\n2,pro,false,Oslo\n"
    assert read_body(text)["age"] == read_file(text, tmp_path)["age"] == [None, 2.0]
    assert read_body(text)["plan"] == read_file(text, tmp_path)["plan"] == [None, "pro"]


def test_the_missing_words_are_those_of_pandas() -> None:
    assert STR_NA_VALUES == missing_values.PANDAS_WORDS


def test_a_gap_in_a_column_without_gaps_is_refused_if_the_endpoint_is_strict() -> None:
    text = "age,plan,paid,town\n1,pro,true,Rome\n1,pro,true, ?\n"
    assert read_body(text)["town"] == ["Rome", None]
    with pytest.raises(RequestError, match='row 1, column "town"') as error:
        read_body(text, rules=STRICT)
    assert error.value.hint == "this column had no gaps in training"


def test_json_values_are_taken_literally() -> None:
    row = {"age": 1.0, "plan": "?", "paid": True, "town": " na"}
    assert to_lists(tables.columns_from_json("inputs", [row], SIGNATURE)) == {
        name: [value] for name, value in row.items()
    }


def test_a_model_of_another_program_gets_cells_as_mlflow_reads_them() -> None:
    columns = read_body(
        "age,plan,paid,town\n ?, pro,true,NA\n2,NA,true, -\n".replace(" ?", "NaN"), by_mlctl=False
    )
    assert columns == {"age": [None, 2.0], "plan": [" pro", None], "paid": [True, True], "town": [None, " -"]}


NUMBERS = {
    "12": 12,
    "-.5": -0.5,
    "1e3": 1000,
    "1.": 1,
    "+5": 5,
    "1,234.5": 1234.5,
    "$5": 5,
    "10%": 10,
    "00012": 12,
}
NO_NUMBERS = (
    "1_000",
    "\u0663",
    "\uff11\uff12",
    "0x10",
    "inf",
    "-Infinity",
    "1e400",
    "1 000",
    "--5",
    "1e",
    "1e5.5",
    "1,2,3",
    "true",
)


@pytest.mark.parametrize("word", [*NUMBERS, *NO_NUMBERS])
def test_training_predict_and_endpoint_agree_on_what_a_number_is(word: str, tmp_path: Path) -> None:
    cells = pd.Series(["1.5", word, None], dtype=object)
    trained = convert_cells.cast_to_signature(cells, "double", required=False)
    text = f'age,plan,paid,town\n1.5,a,true,Rome\n"{word}",b,true,Rome\n'
    number = NUMBERS.get(word)
    np.testing.assert_equal(trained.to_list(), [1.5, np.nan if number is None else number, np.nan])
    assert read_file(text, tmp_path)["age"] == [1.5, number]
    if number is not None:
        assert read_body(text)["age"] == [1.5, number]
    else:
        with pytest.raises(RequestError, match='in row 1, column "age" is not a number'):
            read_body(text)
