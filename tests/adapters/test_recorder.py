"""What a run's recorder writes to the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlctl.adapters.runlog.journal import Journal
from mlctl.adapters.runlog.recorder import Recorder, logged_model_name
from mlctl.domain.progress import NullProgress

pytestmark = pytest.mark.unit


def open_recorder(folder: Path) -> Recorder:
    """Open the record of an offline run, again if it exists."""
    journal = Journal(folder)
    journal.update_header(tracking_uri="", experiment="e", tags={"mlctl.recipe": "a/b.csv"}, began=0)
    return Recorder(journal, None, NullProgress())


def written(recorder: Recorder, kind: str) -> list[dict[str, Any]]:
    return [dict(entry) for entry in recorder.journal.entries() if entry["kind"] == kind]


def test_results_are_at_step_0_and_the_last_ones_count(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path / "run")
    recorder.log_metrics({"loss": 0.5}, step=1)
    recorder.log_results({"best_val_f1": 0.8, "test_f1": 0.7})
    recorder.journal.close()
    resumed = open_recorder(tmp_path / "run")  # the process was killed, and trains more epochs now
    resumed.log_metrics({"loss": 0.5}, step=1)
    resumed.log_results({"best_val_f1": 0.9, "test_f1": 0.7}, of_model=False)
    entries = [(entry["values"], entry["step"], entry["of_model"]) for entry in written(resumed, "metrics")]
    assert entries == [
        ({"loss": 0.5}, 1, False),
        ({"best_val_f1": 0.8, "test_f1": 0.7}, 0, True),
        ({"best_val_f1": 0.9}, 0, False),
    ]
    resumed.journal.close()


def test_a_model_is_named_after_the_recipe_unless_the_script_names_it(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path / "run")
    recorder.log_model({}, step=1)
    recorder.log_model({}, step=1, name="mine")
    assert [entry["name"] for entry in written(recorder, "model")] == ["a_b_csv", "mine"]
    assert logged_model_name("") == "model"
    recorder.journal.close()
