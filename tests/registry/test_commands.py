"""The commands of the registry on a real store: stages, gates, history and errors."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.tracking_store import Answer

Mlctl = Callable[..., Answer]


@pytest.fixture
def model(own_store: str) -> str:
    """A model with three versions, of the runs peak (best_val_f1 0.9), steady (0.85) and stock (by another program)."""
    client = mlflow.MlflowClient(own_store, own_store)
    client.create_registered_model("M")
    for name in ("peak", "steady", "stock"):
        (logged,) = client.search_runs(
            [experiment.experiment_id for experiment in client.search_experiments()],
            f"attributes.run_name = '{name}'",
        )
        client.create_model_version("M", "s3://nowhere/model", logged.info.run_id)
    return "M"


@pytest.fixture
def run(mlctl: Mlctl) -> Callable[..., Any]:
    def call(*arguments: object, code: int = 0) -> Any:
        answer = mlctl(*arguments, "-o", "json")
        assert answer.code == code, answer.err
        assert "Warning" not in answer.err
        return json.loads(answer.out) if answer.out else json.loads(answer.err.splitlines()[-1])["error"]

    return call


def mlflow_state(uri: str) -> dict[str, Any]:
    """Return aliases and stages of M, as MLflow's own client reads them."""
    client = mlflow.MlflowClient(uri, uri)
    registered = client.get_registered_model("M")
    versions = client.search_model_versions("name = 'M'")
    return {
        "aliases": {alias: int(version) for alias, version in registered.aliases.items()},
        "stages": {int(version.version): version.current_stage for version in versions},
    }


def test_the_previous_holder_of_the_stage_is_archived(model: str, own_store: str, run: Any) -> None:
    assert run("promote", model, 1, "production")["replaced"] is None
    answer = run("promote", model, "2", "PRODUCTION", "--reason", "better")
    assert (answer["stage"], answer["replaced"], answer["changed"], answer["checks"]) == (
        "Production",
        "1",
        True,
        [],
    )
    assert mlflow_state(own_store) == {
        "aliases": {"production": 2},
        "stages": {1: "Archived", 2: "Production", 3: "None"},
    }
    again = run("promote", model, 2, "Production")
    assert (again["replaced"], again["changed"]) == ("2", False)
    history = run("models", "history", model)
    assert [(entry["version"], entry["replaced"], entry["reason"]) for entry in history] == [
        ("1", None, ""),
        ("2", "1", "better"),
        ("2", "2", ""),
    ]
    assert history[0].keys() >= {"at", "by", "action", "stage", "version", "replaced", "reason", "checks"}
    assert history[1]["data_sha256"]


def test_staging_and_production_exclude_each_other(model: str, own_store: str, run: Any) -> None:
    run("promote", model, 1, "Staging")
    assert run("promote", model, 1, "Production", "--from", "staging")["released"] == ["Staging"]
    assert mlflow_state(own_store)["aliases"] == {"production": 1}
    refused = run("promote", model, 1, "None", code=4)  # nobody is there to ask
    assert refused["message"].startswith(
        "M version 1 leaves Production, which is then empty: nothing serves M"
    )
    assert mlflow_state(own_store)["aliases"] == {"production": 1}
    assert run("promote", model, 1, "None", "-n")["released"] == ["Production"]
    assert run("promote", model, 1, "None", "--yes")["released"] == ["Production"]
    assert mlflow_state(own_store) == {"aliases": {}, "stages": {1: "None", 2: "None", 3: "None"}}


def test_an_own_stage_is_only_an_alias(
    model: str, own_store: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlctl.toml").write_text('stages = ["Canary"]')
    run("promote", model, 1, "Production")
    run("promote", model, 1, "canary")
    run("promote", model, 2, "Canary")
    assert mlflow_state(own_store) == {
        "aliases": {"production": 1, "canary": 2},
        "stages": {1: "Production", 2: "None", 3: "None"},
    }


def test_an_undeclared_stage_is_a_usage_error_with_a_suggestion(model: str, own_store: str, run: Any) -> None:
    for typed in ("Prodution", "Prod"):
        error = run("promote", model, 1, typed, code=2)
        assert error["hint"] == "did you mean Production?"
    assert mlflow_state(own_store) == {"aliases": {}, "stages": {1: "None", 2: "None", 3: "None"}}


@pytest.mark.parametrize(
    ("arguments", "holds", "found"),
    [
        (["--require", "best_val_f1>=0.84"], True, 0.85),
        (
            ["--require", "val_f1 > 0.85"],
            False,
            0.85,
        ),  # the metric of the logged model, not of the last epoch
        (["--require", "best_val_loss<=2"], False, None),
        (["--require", "accuracy=0.6"], False, None),
        (["--no-regress", "best_val_f1"], False, 0.85),
        (["--no-regress", "val_f1:0.06"], True, 0.85),
        (["--no-regress", "val_f1:6%"], True, 0.85),
        (["--from", "Staging"], False, "None"),
    ],
)
def test_a_gate(
    model: str, own_store: str, run: Any, arguments: list[str], holds: bool, found: object
) -> None:
    run("promote", model, 1, "Production")
    before = mlflow_state(own_store)
    answer = run("promote", model, 2, "Production", *arguments, "-n", code=0 if holds else 4)
    (check,) = answer["checks"]
    assert check.keys() == {"check", "wanted", "found", "holds"}
    assert (check["holds"], check["found"]) == (holds, found)
    assert answer["replaced"] == "1"
    assert mlflow_state(own_store) == before
    answer = run("promote", model, 2, "Production", *arguments, code=0 if holds else 4)
    assert answer["changed"] is holds
    assert (mlflow_state(own_store) != before) is holds
    assert len(run("models", "history", model)) == 1 + holds


def test_a_run_of_another_program_is_checked_by_all_its_metrics(model: str, run: Any) -> None:
    assert run("promote", model, 3, "Staging", "--require", "accuracy=0.6")["checks"][0]["holds"]


def test_gates_of_mlctl_toml_apply_to_every_promotion(
    model: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlctl.toml").write_text('[models.M]\nrequire = ["best_val_f1>=0.89"]\nfrom = "Staging"')
    assert [entry["holds"] for entry in run("promote", model, 2, "Production", code=4)["checks"]] == [
        False,
        False,
    ]
    run("promote", model, 1, "Staging")
    assert [entry["holds"] for entry in run("promote", model, 1, "Production")["checks"]] == [True, True]
    run("promote", model, 2, "Production", "--skip-gates", code=2)
    run("promote", model, 2, "Production", "--skip-gates", "--reason", "an emergency")
    last = run("models", "history", model)[-1]
    assert last["reason"] == "an emergency"
    assert [entry["check"] for entry in last["checks"]] == ["require (skipped)", "from (skipped)"]


def test_no_rollback_to_a_model_that_does_not_load(model: str, own_store: str, run: Any) -> None:
    for version in (1, 2):
        run("promote", model, version, "Production")
    answer = run("rollback", model, "Production", code=4)
    assert answer["version"] == "1"
    assert not answer["checks"][0]["holds"]
    assert mlflow_state(own_store)["aliases"] == {"production": 2}


def test_a_rollback_needs_an_earlier_version(model: str, run: Any) -> None:
    run("rollback", model, "Production", code=4)
    run("promote", model, 1, "Production")
    run("rollback", model, "Production", code=4)
    run("rollback", model, "Production", "--to", 2, code=4)
    run("rollback", model, "Archived", code=2)


def test_history_at_a_time(model: str, run: Any) -> None:
    run("promote", model, 1, "Production")
    run("promote", model, 3, "Staging")
    run("promote", model, 2, "Production")
    between = run("models", "history", model)[1]["at"]
    assert [entry["version"] for entry in run("models", "history", model, "--at", between)] == ["1", "3"]
    moves = run("models", "history", model, "--at", between, "--stage", "production")
    assert [entry["version"] for entry in moves] == ["1"]
    assert run("models", "history", model, "--at", "2020-01-01") == []
    assert len(run("models", "history", model, "--at", between[:10])) == 3  # a date means the end of that day
    run("models", "history", model, "--at", "yesterday", code=2)


def test_a_history_without_entries_says_why(model: str, mlctl: Mlctl) -> None:
    assert mlctl("models", "history", model).out == "no version of M was promoted yet\n"
    early = mlctl("models", "history", model, "--at", "2020-01-01").out
    assert early.startswith(
        "M did not exist yet at 2020-01-01 23:59:59: its first version was registered at 20"
    )
    late = mlctl("models", "history", model, "--at", "2999-01-01").out
    assert late == "no version of M was promoted yet at 2999-01-01 23:59:59\n"


@pytest.mark.parametrize("width", [60, 80])
def test_each_version_is_listed_with_its_own_score(
    model: str, mlctl: Mlctl, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    columns = mlctl("models", "list", "-o", "csv").out.splitlines()[0]
    assert columns == "model,version,stage,accuracy,best_val_f1,test_accuracy,created,aliases"
    monkeypatch.setenv("COLUMNS", str(width))
    header, *lines = mlctl("models", "list").out.splitlines()
    assert header.split() == ["model", "version", "score", "test", "registered"]  # no version has a stage
    assert [line.split()[1:4] for line in lines] == [
        ["3", "accuracy", "0.6"],
        ["2", "val_f1", "0.85"],
        ["1", "val_f1", "0.9"],
    ]
    assert max(map(len, lines)) <= width


def kill_promotion(store: str, model: str, version: str) -> mlflow.MlflowClient:
    """Write the lock and the record of a promotion to Production, as a command that is killed after them."""
    from mlctl import machine
    from mlctl.services.models import history, history_tags

    client = mlflow.MlflowClient(store, store)
    writer = "0123456789ab"
    ended = {"number": 1, "machine": machine.identity(), "pid": 1, "birth": "another boot"}
    client.set_registered_model_tag(model, f"mlctl.lock.{writer}", json.dumps(ended))
    tags = client.get_registered_model(model).tags
    record = history.MoveRecord(
        at=history.now(), by="ann", action="promote", stage="Production", version=version
    )
    numbered = replace(record, key=history_tags.next_key(tags, writer))
    for tag, text in history_tags.add_records(tags, [numbered]).tags:
        client.set_registered_model_tag(model, tag, text)
    return client


def versions_in_history(run: Any, model: str) -> list[tuple[str, str]]:
    return [(entry["version"], entry["by"]) for entry in run("models", "history", model)]


def rows_of_registry(store: str) -> list[Any]:
    tables = ("registered_model_aliases", "model_versions", "registered_model_tags", "model_version_tags")
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        return [database.execute(f"select * from {table} order by 1, 2").fetchall() for table in tables]


def test_the_move_of_a_killed_command_counts_from_its_alias_on(
    model: str, own_store: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlctl.services.models.registry_lock.GRACE_S", 0.05)
    run("promote", model, 1, "Production")
    me = run("models", "history", model)[0]["by"]
    kill_promotion(own_store, model, "2")
    assert versions_in_history(run, model) == [("1", me)]
    assert run("promote", model, 3, "Production")["replaced"] == "1"
    assert versions_in_history(run, model) == [("1", me), ("3", me)]
    client = kill_promotion(own_store, model, "2")
    client.set_registered_model_alias(model, "production", "2")
    before = rows_of_registry(own_store)
    assert versions_in_history(run, model) == [("1", me), ("3", me), ("2", "ann")]
    assert rows_of_registry(own_store) == before
    assert not run("models", "reconcile", model)["changes"]
    assert mlflow_state(own_store)["stages"] == {1: "Archived", 2: "Production", 3: "Archived"}
    tags = client.get_registered_model(model).tags
    assert [key for key in tags if key.startswith("mlctl.lock.")] == []


def change_outside(store: str, change: str) -> None:
    client = mlflow.MlflowClient(store, store)
    if change == "alias":
        client.set_registered_model_alias("M", "production", "3")
    elif change == "no alias":
        client.delete_registered_model_alias("M", "production")
    elif change == "stage":
        client.transition_model_version_stage("M", "3", "Production", archive_existing_versions=True)
    elif change == "archived":
        client.transition_model_version_stage("M", "1", "Archived")
    else:
        client.transition_model_version_stage("M", "2", "None")


CHANGES = {
    "alias": ("alias production points to 3, mlctl's history says 1", {"production": 3}),
    "no alias": ("alias production is deleted, mlctl's history says 1", {}),
    "stage": ("version 3 is in stage Production, mlctl's history says 1", {"production": 3}),
    "archived": ("version 1 is in stage Archived, mlctl's history says 1", {}),
    "shared": ("version 2 is in stage None, mlctl's history says Archived", {"production": 1}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_outside_mlctl(model: str, own_store: str, run: Any, mlctl: Mlctl, change: str) -> None:
    message, accepted = CHANGES[change]
    run("promote", model, 2, "Production")
    run("promote", model, 1, "Production")
    unchanged = mlflow_state(own_store)
    change_outside(own_store, change)
    before = rows_of_registry(own_store)
    for command in (("list",), ("show", model), ("history", model), ("reconcile", model, "--dry-run")):
        answer = mlctl("models", *command)
        assert f"{message}: changed outside mlctl" in answer.out + answer.err
    run("promote", model, 3, "Staging", "--dry-run")
    assert rows_of_registry(own_store) == before
    assert len(run("models", "reconcile", model, "--restore")["changes"]) == 1
    undone = mlflow_state(own_store)
    assert undone["aliases"] == unchanged["aliases"]
    if change in {"alias", "stage"}:  # as after every rollback
        assert undone["stages"].pop(3) == "Archived"
        unchanged["stages"].pop(3)
    assert undone["stages"] == unchanged["stages"]
    assert [by == "outside mlctl" for _, by in versions_in_history(run, model)] == [False, False, True, False]
    change_outside(own_store, change)
    assert run("models", "reconcile", model)["done"]
    assert mlflow_state(own_store)["aliases"] == accepted
    assert versions_in_history(run, model)[-1][1] == "outside mlctl"
    assert not run("models", "reconcile", model)["changes"]


def test_the_next_promotion_records_a_change_outside_mlctl(model: str, own_store: str, run: Any) -> None:
    run("promote", model, 1, "Production")
    change_outside(own_store, "alias")
    assert run("promote", model, 2, "Production", "--dry-run")["replaced"] == "3"
    assert run("promote", model, 2, "Production")["replaced"] == "3"
    entries = run("models", "history", model)
    assert [(entry["version"], entry["replaced"]) for entry in entries] == [
        ("1", None),
        ("3", "1"),
        ("2", "3"),
    ]


def test_a_version_that_mlflow_itself_promoted_is_replaced(model: str, own_store: str, run: Any) -> None:
    client = mlflow.MlflowClient(own_store, own_store)
    client.transition_model_version_stage(model, "1", "Production")
    assert run("promote", model, 2, "Production")["replaced"] == "1"
    assert mlflow_state(own_store)["stages"] == {1: "Archived", 2: "Production", 3: "None"}


def test_deleting(model: str, own_store: str, run: Any, mlctl: Mlctl) -> None:
    run("promote", model, 1, "Production")
    run("models", "delete", model, 1, "--yes", code=4)
    run("models", "delete", model, "--yes", code=4)
    assert mlctl("models", "delete", model, 2).code == 4  # nobody is there to run
    assert run("models", "delete", model, 2, "--yes")["versions"] == ["2"]
    run("promote", model, 2, "Production", code=3)
    run("promote", model, 1, "Archived", "--yes")
    run("models", "delete", model, "--yes")
    assert run("models", "list") == []
    run("models", "show", model, code=3)


def test_annotating_and_comparing(model: str, run: Any) -> None:
    run("models", "set", model, "--description", "a toy", "--tag", "team=vision")
    run("models", "set", model, 2, "--tag", "reviewed=yes")
    shown = run("models", "show", model)[0]
    assert (shown["description"], shown["tags"]) == ("a toy", {"team": "vision"})
    assert shown["versions"][1]["tags"] == {"reviewed": "yes"}
    assert shown["versions"][0].keys() >= {"version", "stage", "alias", "run_id", "metrics", "created"}
    run("models", "set", model, code=2)
    diff = run("models", "diff", model, 1, 2)
    assert diff["metrics"]["best_val_f1"] == [0.9, 0.85]
    assert diff["params"] == {"epochs": ["10", "20"]}  # 0.01 and 1e-2 are the same number
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
def test_an_error_is_one_line_and_changes_nothing(
    model: str, own_store: str, run: Any, arguments: list[str], code: int
) -> None:
    error = run(*arguments, code=code)
    assert "\n" not in error["message"]
    assert error["hint"]
    assert [
        registered.name for registered in mlflow.MlflowClient(own_store, own_store).search_registered_models()
    ] == ["M"]


def test_copying_a_version_to_another_store(
    model: str, own_store: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(_store: object, _uri: str, folder: Path) -> None:
        folder.mkdir()
        mlflow.models.Model().save(str(folder / "MLmodel"))

    monkeypatch.setattr("mlctl.services.registry.copy_version.download_model", download)
    other = f"sqlite:///{tmp_path}/other.db"
    previous = mlflow.get_tracking_uri()
    try:
        promoted = run("models", "copy", f"{model}/1", "--to-uri", other, "--stage", "Staging")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", own_store)  # MLflow sets it, too
        again = run("models", "copy", f"{model}/1", "--to-uri", other)
    finally:
        mlflow.set_tracking_uri(previous)
    assert (promoted["version"], promoted["stage"], promoted["changed"]) == ("1", "Staging", True)
    assert (again["version"], again["created"]) == ("1", False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    (version,) = run("models", "show", model)[0]["versions"]
    assert (version["stage"], version["metrics"]["best_val_f1"]) == ("Staging", 0.9)
    assert version["tags"]["mlctl.copied_from"].startswith("models:/M/1 of sqlite:///")
    assert "copied from" in run("models", "history", model)[0]["reason"]
    assert run("runs", "show", version["run_id"])["run_name"] == "peak"
