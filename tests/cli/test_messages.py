"""Messages of errors that a new user meets: each names the actual problem, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlctl.cli import error_handler
from mlctl.domain.run import FinishedRun, Run
from mlctl.errors import Interrupted, NotFoundError, did_you_mean
from mlctl.output import views
from mlctl.services.serving.keys import revoke_key

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("Prodution", "did you mean Production?"),
        ("prod", "did you mean Production?"),
        ("Sta", "did you mean Staging?"),
        ("", ""),
        ("s", "did you mean Staging?"),
        ("xyz", ""),
    ],
)
def test_a_name_is_suggested_by_its_beginning(typed: str, answer: str) -> None:
    assert did_you_mean(typed, ["None", "Staging", "Production", "Archived"]) == answer


def test_a_beginning_of_several_names_suggests_none() -> None:
    assert did_you_mean("val", ["val_accuracy_of_all", "val_precision_of_all"]) == ""


@pytest.mark.parametrize(
    ("error", "is_writable", "message"),
    [
        (PermissionError(13, "no", "new.csv"), False, "the folder {folder} is not writable"),
        (PermissionError(13, "no", "deep/er/new.csv"), False, "the folder {folder} is not writable"),
        (PermissionError(13, "no", "old.csv"), False, "you may not read or write old.csv"),
        (PermissionError(13, "no", "new.csv"), True, "you may not read or write new.csv"),
        (IsADirectoryError(21, "no", "folder"), True, "folder is a folder, not a file"),
        (NotADirectoryError(20, "no", "old.csv/x"), True, "a part of old.csv/x is a file, not a folder"),
    ],
)
def test_a_path_that_cannot_be_used_is_named(
    error: OSError,
    is_writable: bool,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.csv").touch()
    monkeypatch.setattr(os, "access", lambda *_: is_writable)

    def fail(_: object) -> None:
        raise error

    assert error_handler.run_command(fail, []) == 4
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"error: {message.format(folder=tmp_path)}"
    assert second.startswith("hint: ")


def test_an_interrupt_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: object) -> None:
        raise Interrupted("interrupted after epoch 3", "resume: mlctl resume 3f2a")

    assert error_handler.run_command(interrupt, []) == 130
    assert capsys.readouterr().err == "interrupted after epoch 3\nhint: resume: mlctl resume 3f2a\n"


def test_a_file_without_keys_says_how_to_create_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        revoke_key(tmp_path / "keys", "bob")
    assert caught.value.hint == "the file has no keys; create one: mlctl keys new NAME"


def test_resuming_a_finished_run_is_one_line() -> None:
    run = Run(
        run_id="3f2a" * 8,
        run_name="calm-owl-1",
        experiment="digits",
        status="FINISHED",
        tracking_uri="",
        recipe="digits",
        params={"units": "64"},
        metrics={"val_accuracy": 0.9},
        tags={},
        started_at=None,
        duration_s=1.0,
    )
    (table,) = views.tables(FinishedRun(run))
    assert [list(row) for row in table.rows] == [
        ["run", "calm-owl-1 (3f2a3f2a) is finished: there is nothing to resume"]
    ]
    assert views.document(FinishedRun(run))["status"] == "FINISHED"
