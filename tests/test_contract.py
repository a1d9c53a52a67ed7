"""The keys of JSON answers: programs depend on them, so others may join them and none may leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.tracking_store import Answer

RUN = {
    "run_id", "run_name", "experiment", "status", "recipe", "params", "metrics", "tags", "data", "model_uri",
    "tracking_uri", "duration_s",
}  # fmt: skip
ERROR = {"code", "message", "hint"}


@pytest.fixture
def answered(store: str, mlctl: Callable[..., Answer]) -> Callable[..., Any]:
    def ask(*arguments: str) -> Any:
        answer = mlctl(*arguments, "-o", "json")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    return ask


def test_runs_show(answered: Callable[..., Any]) -> None:
    found = answered("runs", "show", "peak")
    assert found.keys() >= RUN
    assert found["data"].keys() >= {"source", "sha256", "rows"}


def test_runs_list(answered: Callable[..., Any]) -> None:
    for run in answered("runs", "list"):
        assert run.keys() >= RUN - {"data"}
        assert "data" not in run


def test_runs_diff(answered: Callable[..., Any]) -> None:
    found = answered("runs", "diff", "peak", "steady")
    assert found.keys() >= {"params", "metrics", "data", "code"}
    assert all(len(pair) == 2 for pair in found["metrics"].values())


def test_experiments_list(answered: Callable[..., Any]) -> None:
    for one in answered("experiments", "list"):
        assert one.keys() >= {"name", "experiment_id", "runs", "last_run_at", "artifact_location"}


def test_a_value_that_json_lacks_is_null(answered: Callable[..., Any]) -> None:
    assert answered("runs", "show", "nan")["metrics"]["val_f1"] is None


def test_an_error(store: str, mlctl: Callable[..., Answer]) -> None:
    answer = mlctl("runs", "show", "nobody", "-o", "json")
    assert answer.code == 3
    assert answer.out == ""
    assert json.loads(answer.err)["error"].keys() == ERROR
