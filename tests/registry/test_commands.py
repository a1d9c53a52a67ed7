"""The registry's commands on a real store: stages, gates, history, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.tracking_store import Answer

Mlctl = Callable[..., Answer]


@pytest.fixture
def model(own_store: str) -> str:
    """A model of three versions, made from the runs peak (best_val_f1 0.9), steady (0.85) and stock."""
    client = mlflow.MlflowClient(own_store, own_store)
    client.create_registered_model("M")
    for name in ("peak", "steady", "stock"):
        (run,) = client.search_runs(
            [one.experiment_id for one in client.search_experiments()], f"attributes.run_name = '{name}'"
        )
        client.create_model_version("M", "s3://nowhere/model", run.info.run_id)
    return "M"


@pytest.fixture
def ask(mlctl: Mlctl) -> Callable[..., Any]:
    def call(*arguments: object, code: int = 0) -> Any:
        answer = mlctl(*arguments, "-o", "json")
        assert answer.code == code, answer.err
        assert "Warning" not in answer.err
        return json.loads(answer.out) if answer.out else json.loads(answer.err.splitlines()[-1])["error"]

    return call


def held(uri: str) -> dict[str, Any]:
    """What MLflow's own client says of M."""
    client = mlflow.MlflowClient(uri, uri)
    found = client.get_registered_model("M")
    versions = client.search_model_versions("name = 'M'")
    return {
        "aliases": {alias: int(version) for alias, version in found.aliases.items()},
        "stages": {int(one.version): one.current_stage for one in versions},
    }


def test_the_one_that_held_the_stage_becomes_archived(model: str, own_store: str, ask: Any) -> None:
    assert ask("promote", model, 1, "production")["replaced"] is None
    answer = ask("promote", model, "2", "PRODUCTION", "--reason", "better")
    assert (answer["stage"], answer["replaced"], answer["changed"], answer["checks"]) == (
        "Production",
        "1",
        True,
        [],
    )
    assert held(own_store) == {
        "aliases": {"production": 2}, "stages": {1: "Archived", 2: "Production", 3: "None"},
    }  # fmt: skip
    again = ask("promote", model, 2, "Production")
    assert (again["replaced"], again["changed"]) == ("2", False)
    history = ask("models", "history", model)
    assert [(one["version"], one["replaced"], one["reason"]) for one in history] == [
        ("1", None, ""), ("2", "1", "better"), ("2", "2", ""),
    ]  # fmt: skip
    assert history[0].keys() >= {"at", "by", "action", "stage", "version", "replaced", "reason", "checks"}
    assert history[1]["data_sha256"]


def test_staging_and_production_exclude_each_other(model: str, own_store: str, ask: Any) -> None:
    ask("promote", model, 1, "Staging")
    ask("promote", model, 1, "Production", "--from", "staging")
    assert held(own_store)["aliases"] == {"production": 1}
    ask("promote", model, 1, "None")
    assert held(own_store) == {"aliases": {}, "stages": {1: "None", 2: "None", 3: "None"}}


def test_a_stage_of_ones_own_is_an_alias_beside(
    model: str, own_store: str, ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlctl.toml").write_text('stages = ["Canary"]')
    ask("promote", model, 1, "Production")
    ask("promote", model, 1, "canary")
    ask("promote", model, 2, "Canary")
    assert held(own_store) == {
        "aliases": {"production": 1, "canary": 2}, "stages": {1: "Production", 2: "None", 3: "None"},
    }  # fmt: skip


def test_an_undeclared_stage_is_a_usage_error_with_a_suggestion(model: str, own_store: str, ask: Any) -> None:
    error = ask("promote", model, 1, "Prodution", code=2)
    assert error["hint"] == "did you mean Production?"
    assert held(own_store) == {"aliases": {}, "stages": {1: "None", 2: "None", 3: "None"}}


@pytest.mark.parametrize(
    ("arguments", "holds", "found"),
    [
        (["--require", "best_val_f1>=0.84"], True, 0.85),
        (["--require", "val_f1 > 0.85"], False, 0.85),  # the kept model's, not the last epoch's
        (["--require", "best_val_loss<=2"], False, None),
        (["--require", "accuracy=0.6"], False, None),
        (["--no-regress", "best_val_f1"], False, 0.85),
        (["--no-regress", "val_f1:0.06"], True, 0.85),
        (["--no-regress", "val_f1:6%"], True, 0.85),
        (["--from", "Staging"], False, "None"),
    ],
)
def test_a_gate(
    model: str, own_store: str, ask: Any, arguments: list[str], holds: bool, found: object
) -> None:
    ask("promote", model, 1, "Production")
    before = held(own_store)
    answer = ask("promote", model, 2, "Production", *arguments, "-n", code=0 if holds else 4)
    (check,) = answer["checks"]
    assert check.keys() == {"check", "wanted", "found", "holds"}
    assert (check["holds"], check["found"]) == (holds, found)
    assert answer["replaced"] == "1"
    assert held(own_store) == before
    answer = ask("promote", model, 2, "Production", *arguments, code=0 if holds else 4)
    assert answer["changed"] is holds
    assert (held(own_store) != before) is holds
    assert len(ask("models", "history", model)) == 1 + holds


def test_a_run_of_another_program_is_judged_by_what_it_has(model: str, ask: Any) -> None:
    assert ask("promote", model, 3, "Staging", "--require", "accuracy=0.6")["checks"][0]["holds"]


def test_gates_that_are_kept_hold_for_everybody(
    model: str, ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlctl.toml").write_text('[models.M]\nrequire = ["best_val_f1>=0.89"]\nfrom = "Staging"')
    assert [one["holds"] for one in ask("promote", model, 2, "Production", code=4)["checks"]] == [
        False,
        False,
    ]
    ask("promote", model, 1, "Staging")
    assert [one["holds"] for one in ask("promote", model, 1, "Production")["checks"]] == [True, True]
    ask("promote", model, 2, "Production", "--skip-gates", code=2)
    ask("promote", model, 2, "Production", "--skip-gates", "--reason", "an emergency")
    last = ask("models", "history", model)[-1]
    assert last["reason"] == "an emergency"
    assert [one["check"] for one in last["checks"]] == ["require (skipped)", "from (skipped)"]


def test_a_model_that_does_not_load_is_not_rolled_back_to(model: str, own_store: str, ask: Any) -> None:
    for version in (1, 2):
        ask("promote", model, version, "Production")
    answer = ask("rollback", model, "Production", code=4)
    assert answer["version"] == "1"
    assert not answer["checks"][0]["holds"]
    assert held(own_store)["aliases"] == {"production": 2}


def test_there_must_be_something_to_go_back_to(model: str, ask: Any) -> None:
    ask("rollback", model, "Production", code=4)
    ask("promote", model, 1, "Production")
    ask("rollback", model, "Production", code=4)
    ask("rollback", model, "Production", "--to", 2, code=4)
    ask("rollback", model, "Archived", code=2)


def test_history_at_a_time(model: str, ask: Any) -> None:
    ask("promote", model, 1, "Production")
    ask("promote", model, 3, "Staging")
    ask("promote", model, 2, "Production")
    between = ask("models", "history", model)[1]["at"]
    assert [one["version"] for one in ask("models", "history", model, "--at", between)] == ["1", "3"]
    found = ask("models", "history", model, "--at", between, "--stage", "production")
    assert [one["version"] for one in found] == ["1"]
    assert ask("models", "history", model, "--at", "2020-01-01") == []
    assert len(ask("models", "history", model, "--at", between[:10])) == 3  # a date means its end
    ask("models", "history", model, "--at", "yesterday", code=2)


def test_what_a_killed_promoter_left_is_ended_by_who_comes_next(model: str, own_store: str, ask: Any) -> None:
    from mlctl.services.models import history as audit

    ask("promote", model, 1, "Production")
    client = mlflow.MlflowClient(own_store, own_store)
    key = audit.next_key(client.get_registered_model(model).tags)
    record = audit.Record(audit.now(), "ann", "promote", "Production", "2")
    for tag, text in audit.tags_of(key, record):
        client.set_registered_model_tag(model, tag, text)
    listed = ask("models", "list")[0]["versions"]
    assert [(one["version"], one["stage"], one["alias"]) for one in listed] == [
        ("3", "None", []), ("2", "Production", ["production"]), ("1", "Archived", []),
    ]  # fmt: skip
    assert held(own_store)["aliases"] == {"production": 2}


def test_a_killed_record_whose_version_is_gone_is_void(model: str, own_store: str, ask: Any) -> None:
    from mlctl.services.models import history as audit

    ask("promote", model, 1, "Production")
    client = mlflow.MlflowClient(own_store, own_store)
    key = audit.next_key(client.get_registered_model(model).tags)
    for tag, text in audit.tags_of(key, audit.Record(audit.now(), "ann", "promote", "Production", "2")):
        client.set_registered_model_tag(model, tag, text)
    client.delete_model_version(model, "2")
    assert [one["version"] for one in ask("models", "history", model)] == ["1"]
    assert held(own_store)["aliases"] == {"production": 1}


def test_what_stock_tools_had_promoted_is_replaced(model: str, own_store: str, ask: Any) -> None:
    client = mlflow.MlflowClient(own_store, own_store)
    client.transition_model_version_stage(model, "1", "Production")
    assert ask("promote", model, 2, "Production")["replaced"] == "1"
    assert held(own_store)["stages"] == {1: "Archived", 2: "Production", 3: "None"}


def test_deleting(model: str, own_store: str, ask: Any, mlctl: Mlctl) -> None:
    ask("promote", model, 1, "Production")
    ask("models", "delete", model, 1, "--yes", code=4)
    ask("models", "delete", model, "--yes", code=4)
    assert mlctl("models", "delete", model, 2).code == 4  # nobody is there to ask
    assert ask("models", "delete", model, 2, "--yes")["versions"] == ["2"]
    ask("promote", model, 2, "Production", code=3)
    ask("promote", model, 1, "Archived")
    ask("models", "delete", model, "--yes")
    assert ask("models", "list") == []
    ask("models", "show", model, code=3)


def test_annotating_and_comparing(model: str, ask: Any) -> None:
    ask("models", "set", model, "--description", "a toy", "--tag", "team=vision")
    ask("models", "set", model, 2, "--tag", "reviewed=yes")
    found = ask("models", "show", model)[0]
    assert (found["description"], found["tags"]) == ("a toy", {"team": "vision"})
    assert found["versions"][1]["tags"] == {"reviewed": "yes"}
    assert found["versions"][0].keys() >= {"version", "stage", "alias", "run_id", "metrics", "created"}
    ask("models", "set", model, code=2)
    diff = ask("models", "diff", model, 1, 2)
    assert diff["metrics"]["best_val_f1"] == [0.9, 0.85]
    assert diff["params"]["learning_rate"] == ["0.01", "1e-2"]
    assert "loss" not in diff["metrics"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["promote", "N", "1", "Production"], 3),
        (["promote", "M", "9", "Production"], 3),
        (["promote", "M", "one", "Production"], 2),
        (["promote", "M", "1", "Production", "--require", "f1"], 2),
        (["promote", "M", "1", "Production", "--no-regress", "f1:x"], 2),
        (["register", "nobody", "N"], 3),
        (["register", "stock", "N"], 3),  # a run without a model
        (["register", "broken", "a/b"], 2),
        (["models", "history", "N"], 3),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    model: str, own_store: str, ask: Any, arguments: list[str], code: int
) -> None:
    error = ask(*arguments, code=code)
    assert "\n" not in error["message"]
    assert error["hint"]
    assert [one.name for one in mlflow.MlflowClient(own_store, own_store).search_registered_models()] == ["M"]
