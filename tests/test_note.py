"""Descriptions of runs: what they say, and that a person's text is never replaced."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mlctl.adapters.runlog.run_sender import RunSender
from mlctl.domain.note import NOTE_TAG, generated_note, may_replace, own_text
from mlctl.domain.run import DataReference, Run
from mlctl.services.runs.description import describe_new_run, describe_run, describe_version

pytestmark = pytest.mark.unit

RUN = Run(
    run_id="0123456789abcdef",
    run_name="calm-cat-1",
    experiment="housing",
    status="FINISHED",
    tracking_uri="sqlite:///x.db",
    recipe="housing",
    params={"epochs": "30"},
    metrics={"best_val_mae": 29668.6, "best_epoch": 12, "test_mae": 30001.2, "val_mae": 31000},
    tags={
        "mlctl.objective": "min:val_mae",
        "mlctl.request": "{}",
        "mlflow.source.name": "mlctl train housing",
        "mlflow.source.git.commit": "c0ffee0123456789",
        "mlctl.git.dirty": "true",
    },
    data=DataReference(
        name="housing", source="h.csv", sha256="8a" * 32, rows=20640, splits={"train": 16512, "test": 4128}
    ),
    model_uri="models:/m-1",
)
FACTS = """\
- **Data:** housing, 20,640 rows (16,512 train, 4,128 test), SHA-256 `8a8a8a8a8a8a`
- **Code:** commit `c0ffee01`, with changes that are in `code.diff`
- **Command:** `mlctl train housing`
- **Reproduce:** `mlctl reproduce 01234567`
- **Predict:** `mlctl predict 01234567 INPUT`"""
HEADLINE = "housing: val_mae 29,669 in epoch 12 of 30, test_mae 30,001"


def test_a_run_and_its_version_are_described() -> None:
    assert describe_run(RUN) == f"{HEADLINE}\n\n{FACTS}"
    assert describe_version(RUN) == f"{HEADLINE}\n\n- **Run:** calm-cat-1 `01234567`\n{FACTS}"


def test_a_run_that_begins_and_a_search_are_described() -> None:
    tags = {"mlctl.recipe": "digits", "mlctl.objective": "max:val_accuracy"}
    assert describe_new_run(tags) == "digits, objective max:val_accuracy"
    search = {**tags, "mlctl.kind": "search", "mlctl.search.trials": "20", "mlctl.request": "{}"}
    assert describe_new_run(search) == "digits, search of up to 20 trials, objective max:val_accuracy"


@pytest.mark.parametrize("text", ["", "\n", generated_note("digits"), generated_note("a\n\n- b\n")])
def test_what_mlctl_wrote_may_be_replaced(text: str) -> None:
    assert may_replace(text)
    assert own_text(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "mine",
        generated_note("digits") + "\nand a remark",
        generated_note("digits").replace("digits", "my digits"),
        "before\n" + generated_note("digits"),
    ],
)
def test_what_a_person_wrote_stays(text: str) -> None:
    assert not may_replace(text)
    assert own_text(text) == text


@pytest.mark.parametrize(
    ("present", "is_written"), [("", True), (generated_note("it begins"), True), ("the user's own", False)]
)
def test_the_store_keeps_the_text_of_a_person(tmp_path: Any, present: str, is_written: bool) -> None:
    written: list[tuple[str, str, str]] = []
    client = SimpleNamespace(
        get_run=lambda run_id: SimpleNamespace(data=SimpleNamespace(tags={NOTE_TAG: present})),
        set_tag=lambda *tag: written.append(tag),
    )
    journal: Any = SimpleNamespace(folder=tmp_path)
    store: Any = SimpleNamespace(client=client, mlflow_client=client)
    RunSender(store, "r", "0", journal)._send_note({"kind": "note", "text": "new"})
    assert written == ([("r", NOTE_TAG, "new")] if is_written else [])
