"""The list of runs: what it says of each run in one line."""

from __future__ import annotations

import json

import pytest

from mlctl.domain.run import DataReference, Run
from mlctl.domain.run_queries import RunList
from mlctl.output.tables import AnswerTable
from mlctl.output.views import tables

pytestmark = pytest.mark.unit

SCRIPT = {"mlctl.script": json.dumps({"script": "nets/train.py", "module": ""})}
MODULE = {"mlctl.script": json.dumps({"script": "", "module": "houses.train"})}


def summary(run: Run, trials: int = 0) -> dict[str, str]:
    """Return the line of a run on a terminal: title -> text."""
    (table,) = tables(RunList(runs=(run,), trials={run.run_id: trials}))
    assert isinstance(table.terminal, AnswerTable)
    cells = [getattr(cell, "shown", cell) for cell in table.terminal.rows[0]]
    return {column.title: str(cell) for column, cell in zip(table.terminal.columns, cells, strict=True)}


def run_of(
    recipe: str, name: str, source: str, tags: dict[str, str] | None = None, status: str = "FINISHED"
) -> Run:
    return Run(
        run_id="0" * 32,
        run_name="r",
        experiment="e",
        status=status,
        tracking_uri="",
        recipe=recipe,
        tags=tags or {},
        data=DataReference(name=name, source=source, sha256="", rows=1),
    )


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (run_of("digits", "digits", "bundled"), "digits"),
        (run_of("digits", "digits", "synthetic"), "synthetic digits"),
        (run_of("wine", "red", "/data/red.csv"), "wine red"),
        (run_of("tabular", "housing", "/data/housing.csv"), "housing.csv"),
        (run_of("images", "flowers", "/data/flowers"), "images flowers"),
        (run_of("train", "train", "nets/range.txt", SCRIPT), "train.py range.txt"),
        (run_of("train", "train", "nets/train.py", SCRIPT), "train.py"),
        (run_of("train", "train", "houses.train", MODULE), "houses.train"),
        (run_of("train", "train", "", {"mlctl.script": "edited"}), "train"),
    ],
)
def test_recipe_and_data_in_a_few_words(run: Run, text: str) -> None:
    assert summary(run)["recipe, data"] == text


def test_trials_come_first_so_that_no_terminal_cuts_them() -> None:
    run = run_of("digits", "digits", "bundled")
    assert summary(run, 1)["recipe, data"] == "1 trial of digits"
    assert summary(run, 1200)["recipe, data"] == "1,200 trials of digits"


def test_the_status_is_shown_if_a_run_is_not_finished() -> None:
    assert "status" not in summary(run_of("digits", "digits", "bundled"))
    assert summary(run_of("digits", "digits", "bundled", status="STOPPED"))["status"] == "STOPPED"
