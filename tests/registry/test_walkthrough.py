"""A new user's walk: train three times, register, promote behind gates, roll back twice, run what was when."""

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
def run(mlctl: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")

    def call(*arguments: object, code: int = 0) -> Any:
        answer = mlctl(*arguments, "-o", "json")
        assert answer.code == code, answer.err
        assert "eprecat" not in answer.err
        return json.loads(answer.out) if answer.out else json.loads(answer.err.splitlines()[-1])["error"]

    return call


def production_version(runs: list[str]) -> int:
    """Return the version that MLflow itself loads as Production, by its stage and by its alias."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    run_ids = {
        mlflow.pyfunc.load_model(uri).metadata.run_id
        for uri in ("models:/Digits/Production", "models:/Digits@production")
    }
    assert len(run_ids) == 1
    return runs.index(run_ids.pop()) + 1


@pytest.mark.slow
def test_three_trainings_two_gates_two_rollbacks(run: Callable[..., Any]) -> None:
    first = run("train", "digits", "--epochs", 2, "--register", "Digits")["run_id"]
    second = run("train", "digits", "--epochs", 4, "--seed", 1)["run_id"]
    third = run("train", "digits", "--epochs", 1, "--seed", 2)["run_id"]
    runs = [first, second, third]

    registered = run("register", second, "Digits", "--tag", "team=vision")
    assert (registered["version"], registered["run_id"]) == ("2", second)
    assert registered.keys() >= {"name", "version", "source", "run_id", "metrics"}
    assert run("register", f"runs:/{second}/artifacts/model", "Digits")["version"] == "2"  # no new version
    assert run("register", third, "Digits")["version"] == "3"
    versions = {entry["version"]: entry for entry in run("models", "list")[0]["versions"]}
    assert f"`mlctl reproduce {second[:8]}`" in versions["2"]["description"]

    run("promote", "Digits", 1, "Production", "--smoke")
    assert production_version(runs) == 1
    refused = run("promote", "Digits", 3, "Production", "--no-regress", "test_accuracy", code=4)
    assert not refused["changed"]
    assert production_version(runs) == 1
    run("promote", "Digits", 2, "Production", "--evaluate", "digits", "--require", "best_val_f1>=0.5")
    assert production_version(runs) == 2
    then = run("models", "history", "Digits")[-1]["at"]
    run("promote", "Digits", 3, "Production", "--reason", "by mistake")
    assert production_version(runs) == 3

    back = run("rollback", "Digits", "Production")
    assert (back["version"], back["replaced"]) == ("2", "3")
    assert production_version(runs) == 2
    assert run("rollback", "Digits", "Production", "--reason", "again")["version"] == "1"
    assert production_version(runs) == 1
    run("rollback", "Digits", "Production", code=4)
    assert production_version(runs) == 1

    at = run("models", "history", "Digits", "--stage", "Production", "--at", then)
    assert at[-1]["version"] == "2"
    assert [check["check"] for check in at[-1]["checks"]] == ["require best_val_f1", "no-regress accuracy"]
    history = run("models", "history", "Digits")
    assert [(entry["action"], entry["version"], entry["replaced"]) for entry in history] == [
        ("promote", "1", None),
        ("promote", "2", "1"),
        ("promote", "3", "2"),
        ("rollback", "2", "3"),
        ("rollback", "1", "2"),
    ]
    shown = run("models", "show", "Digits", 2)[0]["versions"][0]
    assert shown["lineage"]["data"]["sha256"] == history[0]["data_sha256"]
    assert shown["lineage"]["size_bytes"] > 10_000
    assert set(shown["lineage"]["flavors"]) == {"keras", "python_function"}
    copied = run("models", "download", "Digits", "./copy")
    assert Path(copied["path"], "MLmodel").is_file()
    assert run("register", "./copy", "Copied")["version"] == "1"
