"""Predictions in the form of a sample submission."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlctl.domain.outputs import Output
from mlctl.errors import BadDataError, RefusedError, UsageError
from mlctl.services.evaluation import submission

pytestmark = pytest.mark.unit

TEST = "id,age\n7,30\n8,40\n9,50\n"
YES_NO = Output(kind="classes", classes=("no", "yes"))
PROBABILITIES = np.array([[0.25], [0.75], [0.875]])


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that writes a submission from the answers of a model, and returns its lines."""

    def write(sample: str, answers: Any, output: Output, test: str = TEST) -> list[str]:
        info = SimpleNamespace(name="M", version="1", outputs=(output,), task="", unit="")

        @contextmanager
        def open_predictor(*_: Any) -> Iterator[Any]:
            yield SimpleNamespace(info=info)

        monkeypatch.setattr(submission, "open_predictor", open_predictor)
        monkeypatch.setattr(submission, "_predict", lambda *_: np.asarray(answers))
        (tmp_path / "sample.csv").write_text(sample)
        (tmp_path / "test.csv").write_text(test)
        out = tmp_path / "answers" / "submission.csv"
        out.unlink(missing_ok=True)
        settings: Any = SimpleNamespace(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
        done = submission.predict_like(
            settings, "M", str(tmp_path / "test.csv"), sample=tmp_path / "sample.csv", out=out
        )
        assert done.file == str(out)
        return out.read_text().splitlines()

    return write


@pytest.mark.parametrize(
    ("sample", "lines"),
    [
        # labels, as the sample spells them
        ("id,left\n7,no\n8,no\n9,no\n", ["id,left", "7,no", "8,yes", "9,yes"]),
        ("id,left\n7,0\n8,1\n9,0\n", ["id,left", "7,0", "8,1", "9,1"]),
        ("id,left\n7,False\n8,False\n9,False\n", ["id,left", "7,False", "8,True", "9,True"]),
        # probabilities of the positive class
        ("id,left\n7,0.5\n8,0.5\n9,0.5\n", ["id,left", "7,0.25", "8,0.75", "9,0.875"]),
        # a probability of each class
        ("id,left_no,left_yes\n7,.5,.5\n8,.5,.5\n9,.5,.5\n",
         ["id,left_no,left_yes", "7,0.75,0.25", "8,0.25,0.75", "9,0.125,0.875"]),
        # the sample's order, and its order of columns
        ("left,id\n0.5,9\n0.5,7\n0.5,8\n", ["left,id", "0.875,9", "0.25,7", "0.75,8"]),
        # the same in another case, and with some of the rows
        ("ID,left\n9,no\n7,no\n8,no\n", ["ID,left", "9,yes", "7,no", "8,yes"]),
        ("id,left\n9,no\n8,no\n", ["id,left", "9,yes", "8,yes"]),
        # other ids than those of the table: the table's order
        ("id,left\n1,no\n2,no\n", ["id,left", "7,no", "8,yes", "9,yes"]),
        # ids that the table does not have
        ("row,left\n0,no\n1,no\n2,no\n", ["row,left", "0,no", "1,yes", "2,yes"]),
    ],
)  # fmt: skip
def test_the_sample_decides_what_is_written(
    sample: str, lines: list[str], write: Callable[..., list[str]]
) -> None:
    assert write(sample, PROBABILITIES, YES_NO) == lines


def test_numbers_are_written_for_a_regression(write: Callable[..., list[str]]) -> None:
    assert write("id,price\n7,0\n8,0\n9,0\n", [[1.5], [2], [3]], Output(kind="values")) == [
        "id,price", "7,1.5", "8,2.0", "9,3.0",
    ]  # fmt: skip


def test_ids_keep_their_form(write: Callable[..., list[str]]) -> None:
    test = "id,age\n007,30\n008,40\n009,50\n"
    assert write("id,y\n007,no\n008,no\n009,no\n", PROBABILITIES, YES_NO, test)[1:] == [
        "007,no", "008,yes", "009,yes",
    ]  # fmt: skip


def test_a_failure_leaves_no_half_of_a_file(
    write: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("No space left on device")

    monkeypatch.setattr("mlctl.services.evaluation.submission.csv.writer", fail)
    with pytest.raises(OSError, match="No space left"):
        write("id,left\n7,no\n8,no\n9,no\n", PROBABILITIES, YES_NO)
    assert list((tmp_path / "answers").iterdir()) == []


def test_a_sample_that_does_not_fit_is_refused(write: Callable[..., list[str]], tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="none is left for the answers"):
        write("id,age\n7,0\n", PROBABILITIES, YES_NO)
    with pytest.raises(BadDataError, match="column left_b is no class of the model: no, yes"):
        write("id,left_no,left_b\n7,.5,.5\n", PROBABILITIES, YES_NO)
    with pytest.raises(BadDataError, match="no column row, and the sample has 2"):
        write("row,left\n0,no\n1,no\n", PROBABILITIES, YES_NO)
    with pytest.raises(UsageError, match="one output"):
        write("id,left\n7,no\n", PROBABILITIES, Output(kind="labels", classes=("a",)))
    (tmp_path / "out.csv").touch()
    no_settings: Any = SimpleNamespace(tracking_uri="")
    with pytest.raises(RefusedError, match="already exists"):
        submission.predict_like(
            no_settings, "M", "t.csv", sample=tmp_path / "s.csv", out=tmp_path / "out.csv"
        )
