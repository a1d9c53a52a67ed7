"""The keys of JSON answers. Programs depend on them: keys may be added, but not removed."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.tracking_store import Answer

pytestmark = pytest.mark.unit

RUN = {
    "run_id", "run_name", "experiment", "status", "recipe", "params", "metrics", "tags", "data", "model_uri",
    "tracking_uri", "duration_s",
}  # fmt: skip
ERROR = {"code", "message", "hint"}


@pytest.fixture
def json_answer(store: str, mlctl: Callable[..., Answer]) -> Callable[..., Any]:
    return functools.partial(_run, mlctl)


def _run(mlctl: Callable[..., Answer], *arguments: str) -> Any:
    answer = mlctl(*arguments, "-o", "json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_runs_show(json_answer: Callable[..., Any]) -> None:
    answer = json_answer("runs", "show", "peak")
    assert answer.keys() >= RUN
    assert answer["data"].keys() >= {"source", "sha256", "rows"}


def test_runs_list(json_answer: Callable[..., Any]) -> None:
    for run in json_answer("runs", "list"):
        assert run.keys() >= RUN - {"data"}
        assert "data" not in run


def test_runs_diff(json_answer: Callable[..., Any]) -> None:
    answer = json_answer("runs", "diff", "peak", "steady")
    assert answer.keys() >= {"params", "metrics", "data", "code"}
    assert all(len(pair) == 2 for pair in answer["metrics"].values())


def test_experiments_list(json_answer: Callable[..., Any]) -> None:
    for experiment in json_answer("experiments", "list"):
        assert experiment.keys() >= {"name", "experiment_id", "runs", "last_run_at", "artifact_location"}


def test_nan_is_null(json_answer: Callable[..., Any]) -> None:
    assert json_answer("runs", "show", "nan")["metrics"]["val_f1"] is None


def test_an_error(store: str, mlctl: Callable[..., Answer]) -> None:
    answer = mlctl("runs", "show", "nobody", "-o", "json")
    assert answer.code == 3
    assert answer.out == ""
    assert json.loads(answer.err)["error"].keys() == ERROR
