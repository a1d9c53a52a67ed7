"""The versions and the machine of a run: from its file, or from the tags of an earlier version."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from mlctl.domain.environment import ENVIRONMENT_FILE, from_json, to_json
from mlctl.domain.run import Run
from mlctl.errors import NotFoundError
from mlctl.services.runs.environment import read_environment

pytestmark = pytest.mark.unit

VALUES = {"machine.cores": "2", "version.keras": "3.15.1", "version.scikit-learn": "1.9.1"}
RUN = Run(
    run_id="r",
    run_name="",
    experiment="e",
    status="FINISHED",
    tracking_uri="",
    recipe="digits",
    tags={"mlctl.recipe": "digits"},
)


class Store:
    """A store with or without the file."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        self.requests = 0

    def read_artifact(self, run: Run, path: str) -> str:
        self.requests += 1
        if self.text is None:
            raise NotFoundError(f"{path} is missing", "")
        return self.text


def test_the_file_is_read_as_it_was_written() -> None:
    assert from_json(to_json({**VALUES, "machine.cores": 2})) == VALUES
    assert from_json("[]") == from_json("no JSON") == from_json('{"machine": 2}') == {}


def test_the_file_of_the_store_or_of_the_record_is_read(tmp_path: Path) -> None:
    store: Any = Store(to_json(VALUES))
    assert read_environment(store, RUN) == VALUES
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / ENVIRONMENT_FILE).write_text(to_json({"machine.cores": "4"}))
    assert read_environment(store, RUN, tmp_path) == {"machine.cores": "4"}
    missing: Any = Store(None)
    assert read_environment(missing, RUN) == {}


def test_tags_of_an_earlier_version_need_no_request() -> None:
    store: Any = Store(None)
    run = dataclasses.replace(
        RUN, tags={"mlctl.recipe": "a", "mlctl.version.keras": "3.1", "mlctl.seed": "1"}
    )
    assert read_environment(store, run) == {"version.keras": "3.1"}
    for tags in ({}, {"mlctl.recipe": "a", "mlctl.trial": "0001"}):  # of another program, of a trial
        assert read_environment(store, dataclasses.replace(RUN, tags=tags)) == {}
    assert store.requests == 0
