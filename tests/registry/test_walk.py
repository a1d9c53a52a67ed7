"""A new user's walk: train three times, register, promote behind gates, roll back twice, ask what was when."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.tracking_store import Answer


@pytest.fixture
def ask(mlctl: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")

    def call(*arguments: object, code: int = 0) -> Any:
        answer = mlctl(*arguments, "-o", "json")
        assert answer.code == code, answer.err
        assert "eprecat" not in answer.err
        return json.loads(answer.out) if answer.out else json.loads(answer.err.splitlines()[-1])["error"]

    return call


def served(runs: list[str]) -> int:
    """Return the version that stock MLflow loads as Production, by its stage and by its alias."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    found = {
        mlflow.pyfunc.load_model(uri).metadata.run_id
        for uri in ("models:/Digits/Production", "models:/Digits@production")
    }
    assert len(found) == 1
    return runs.index(found.pop()) + 1


@pytest.mark.slow
def test_three_trainings_two_gates_two_rollbacks(ask: Callable[..., Any]) -> None:
    first = ask("train", "digits", "--epochs", 2, "--register", "Digits")["run_id"]
    second = ask("train", "digits", "--epochs", 4, "--seed", 1)["run_id"]
    third = ask("train", "digits", "--epochs", 1, "--seed", 2)["run_id"]
    runs = [first, second, third]

    registered = ask("register", second, "Digits", "--tag", "team=vision")
    assert (registered["version"], registered["run_id"]) == ("2", second)
    assert registered.keys() >= {"name", "version", "source", "run_id", "metrics"}
    assert ask("register", f"runs:/{second}/artifacts/model", "Digits")["version"] == "2"  # no other is made
    assert ask("register", third, "Digits")["version"] == "3"

    ask("promote", "Digits", 1, "Production", "--smoke")
    assert served(runs) == 1
    refused = ask("promote", "Digits", 3, "Production", "--no-regress", "test_accuracy", code=4)
    assert not refused["changed"]
    assert served(runs) == 1
    ask("promote", "Digits", 2, "Production", "--evaluate", "digits", "--require", "best_val_f1>=0.5")
    assert served(runs) == 2
    then = ask("models", "history", "Digits")[-1]["at"]
    ask("promote", "Digits", 3, "Production", "--reason", "by mistake")
    assert served(runs) == 3

    back = ask("rollback", "Digits", "Production")
    assert (back["version"], back["replaced"]) == ("2", "3")
    assert served(runs) == 2
    assert ask("rollback", "Digits", "Production", "--reason", "again")["version"] == "1"
    assert served(runs) == 1
    ask("rollback", "Digits", "Production", code=4)
    assert served(runs) == 1

    at = ask("models", "history", "Digits", "--stage", "Production", "--at", then)
    assert at[-1]["version"] == "2"
    assert [check["check"] for check in at[-1]["checks"]] == ["require best_val_f1", "no-regress accuracy"]
    whole = ask("models", "history", "Digits")
    assert [(one["action"], one["version"], one["replaced"]) for one in whole] == [
        ("promote", "1", None), ("promote", "2", "1"), ("promote", "3", "2"),
        ("rollback", "2", "3"), ("rollback", "1", "2"),
    ]  # fmt: skip
    shown = ask("models", "show", "Digits", 2)[0]["versions"][0]
    assert shown["lineage"]["data"]["sha256"] == whole[0]["data_sha256"]
    assert shown["lineage"]["size_bytes"] > 10_000
    assert set(shown["lineage"]["flavors"]) == {"keras", "python_function"}
    copied = ask("models", "download", "Digits", "./copy")
    assert Path(copied["path"], "MLmodel").is_file()
    assert ask("register", "./copy", "Copied")["version"] == "1"
