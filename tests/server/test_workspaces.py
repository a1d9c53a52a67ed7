"""Workspaces of MLflow: a server has them, and mlctl's commands choose one."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient

from mlctl import settings
from tests.parts.command_line import CommandLine


@pytest.mark.live
@pytest.mark.usefixtures("empty_database")
def test_two_teams_share_a_server(mlctl: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    up = mlctl.json("server-up", "--port", "0", "--workers", "1", "--workspaces")
    client = MlflowClient(up["url"])
    client.create_workspace("vision")
    runs = {}
    for workspace in ("vision", "default"):
        monkeypatch.setenv("MLFLOW_WORKSPACE", workspace)
        experiment = MlflowClient(up["url"]).create_experiment("shared name")
        runs[workspace] = MlflowClient(up["url"]).create_run(experiment, run_name=workspace).info.run_id
        client.log_text(runs[workspace], "a note", "note.txt")
    monkeypatch.delenv("MLFLOW_WORKSPACE")

    store = {"MLFLOW_TRACKING_URI": up["url"]}
    mlctl.environment = store
    listed = mlctl.json("runs", "list")
    assert [run["run_name"] for run in listed] == ["default"]
    (mlctl.cwd / "mlctl.toml").write_text('workspace = "vision"\n')
    listed = mlctl.json("runs", "list")
    assert [run["run_name"] for run in listed] == ["vision"]
    shown = {item["name"]: item for item in mlctl.json("doctor", code=None)["settings"]}
    assert shown["workspace"]["value"] == "vision"
    message, hint = mlctl.error(3, "runs", "list", env={"MLFLOW_WORKSPACE": "nowhere"})
    assert "nowhere" in message + hint

    assert mlctl.json("server-status")["runs"] == 2
    mlctl("server-down")
    mlctl("server-up", "--migrate-only")
    message, hint = mlctl.error(4, "server-up", "--port", "0")
    assert "the workspace vision" in message
    assert hint == "add --workspaces"

    mlctl.json("server-up", "--port", "0", "--workers", "1", "--workspaces", "--name", "again")
    url = mlctl.json("server-status", "--name", "again")["url"]
    mlctl("runs", "delete", runs["vision"][:8], "--yes", env={"MLFLOW_TRACKING_URI": url})
    report = mlctl.json("server-gc", "--yes")
    assert (report["runs"], report["objects"]) == ([runs["vision"]], 1)


@pytest.mark.unit
def test_the_workspace_of_a_project(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlctl.toml").write_text('workspace = "vision"\n')
    monkeypatch.delenv("MLFLOW_WORKSPACE", raising=False)
    assert settings.load(folder=tmp_path).workspace == "vision"
    monkeypatch.setenv("MLFLOW_WORKSPACE", "audio")
    assert settings.load(folder=tmp_path).workspace == "audio"
