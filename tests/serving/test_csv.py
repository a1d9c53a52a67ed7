"""A CSV that is posted is read as the same CSV in a file is, and as training read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pandas._libs.parsers import STR_NA_VALUES

from mlctl.domain import missing_values
from mlctl.services.evaluation import inputs
from mlctl.services.evaluation.predictor import About
from mlctl.serving import tables
from mlctl.serving.request_error import RequestError
from mlctl.serving.signature import Column, Signature
from tests.trained import Seen

TAKES = Signature(
    columns=(
        Column("age", "double", False), Column("plan", "string", False), Column("paid", "boolean", False),
        Column("town", "string", True),
    )
)  # fmt: skip


def posted(text: str, ours: bool = True) -> tables.Columns:
    return tables.from_csv(text.encode(), TAKES, ours)


def in_a_file(text: str, folder: Path) -> Any:
    (folder / "rows.csv").write_text(text)
    (batch,) = inputs.batches(About("m", "1", signature=TAKES), [str(folder / "rows.csv")], 100, Seen())
    return batch.rows


def test_cells_are_trimmed_and_words_of_a_gap_are_gaps(tmp_path: Path) -> None:
    text = 'age, plan, paid, town\n39, pro, True, "Bern, old"\n ?, ?, False, Rome \n-, na, True, Oslo\n1, "free ", , Rome\n'
    assert posted(text) == in_a_file(text, tmp_path) == {
        "age": [39.0, None, None, 1.0], "plan": ["pro", None, None, "free"], "paid": [True, False, True, None],
        "town": ["Bern, old", "Rome", "Oslo", "Rome"],
    }  # fmt: skip


@pytest.mark.parametrize("word", sorted(missing_values.WORDS))
def test_every_word_of_a_gap_is_one_in_both(word: str, tmp_path: Path) -> None:
    text = f"age,plan,paid,town\n{word},{word},true,Rome\n2,pro,false,Oslo\n"
    assert posted(text)["age"] == in_a_file(text, tmp_path)["age"] == [None, 2.0]
    assert posted(text)["plan"] == in_a_file(text, tmp_path)["plan"] == [None, "pro"]


def test_the_words_are_those_that_training_reads() -> None:
    assert STR_NA_VALUES == missing_values.OF_PANDAS


def test_a_gap_where_training_had_none_is_refused() -> None:
    with pytest.raises(RequestError, match='row 1, column "town"') as told:
        posted("age,plan,paid,town\n1,pro,true,Rome\n1,pro,true, ?\n")
    assert told.value.hint == "this column had no gaps in training"


def test_json_says_what_it_means() -> None:
    row = {"age": 1.0, "plan": "?", "paid": True, "town": " na"}
    assert tables.from_json("inputs", [row], TAKES) == {name: [value] for name, value in row.items()}


def test_another_programs_model_gets_cells_as_mlflow_reads_them() -> None:
    found = posted("age,plan,paid,town\n ?, pro,true,NA\n2,NA,true, -\n".replace(" ?", "NaN"), ours=False)
    assert found == {"age": [None, 2.0], "plan": [" pro", None], "paid": [True, True], "town": ["NA", " -"]}
