"""Names of metrics as MLflow takes them."""

from __future__ import annotations

import pytest

from mlctl.domain.metric_names import (
    describe_changes,
    recordable_name,
    recordable_names,
    with_recordable_names,
)
from mlctl.domain.objective import Objective

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val_accuracy", "val_accuracy"),
        ("head/loss", "head/loss"),
        ("mean IoU", "mean IoU"),
        ("größe", "größe"),
        ("top@2", "top_2"),
        ("p(x)=1", "p_x__1"),
        ("a//b/", "a/b"),
        ("/a", "a"),
        ("../a", "a"),
        ("", "metric"),
        ("m" * 300, "m" * 250),
    ],
)
def test_names_are_written_as_mlflow_takes_them(name: str, expected: str) -> None:
    assert recordable_name(name) == expected
    assert recordable_name(expected) == expected


def test_two_names_never_become_one() -> None:
    names = recordable_names(["top@2", "top_2", "top#2", "loss"])
    assert names == {"top@2": "top_2_2", "top_2": "top_2", "top#2": "top_2_3", "loss": "loss"}
    assert with_recordable_names({"a@b": 1.0, "c": 2.0}) == {"a_b": 1.0, "c": 2.0}


def test_changed_names_are_told_once() -> None:
    assert describe_changes(["loss", "val_loss"]) == ""
    assert describe_changes(["top@2", "val_top@2"]).count("top@2 as top_2") == 1


def test_an_objective_may_have_either_name() -> None:
    assert Objective("val_top@2", maximize=True) == Objective("val_top_2", maximize=True)
