"""Clients of a server's own database: what they would lose is refused, and what they kept can still be sent."""

from __future__ import annotations

import socket
import sqlite3
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlctl.adapters.runlog.journal import Journal
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.system.local_servers import live_on
from mlctl.adapters.tracking.artifact_access import demand_reachable
from mlctl.domain.progress import NullProgress
from mlctl.errors import RefusedError
from tests.parts.command_line import CommandLine
from tests.parts.noted import noted


def test_a_record_that_went_past_the_server_is_sent_through_it(
    mlctl: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mlctl.cwd)
    up = mlctl.json("server-up", "--port", "0", "--workers", "1")
    client = MlflowClient(up["url"])
    experiment = client.create_experiment("digits")
    with pytest.raises(RefusedError, match="behind a server") as refused:
        Recorder.begin("sqlite:///mlflow.db", "digits", None, {}, mlctl.state, NullProgress())
    assert refused.value.hint == f"export MLFLOW_TRACKING_URI={up['url']}"
    assert client.search_runs([experiment]) == []

    run_id = client.create_run(experiment).info.run_id
    for name, its_run in (("mine", run_id), ("others", "f" * 32)):
        journal = Journal(mlctl.state / "runs" / name)
        journal.describe(
            tracking_uri="sqlite:///mlflow.db", experiment="digits", experiment_id=experiment, run_id=its_run,
            run_name=name, tags={}, start=1,
        )  # fmt: skip
        (journal.files / "note.txt").write_text("kept")
        journal.add({"kind": "artifact", "path": "note.txt"})
        journal.add({"kind": "finish", "status": "FINISHED", "at": 2})
        journal.close()
    assert client.get_run(run_id).info.status == "RUNNING"
    mlctl("sync", code=None)
    assert client.get_run(run_id).info.status == "RUNNING"
    done = mlctl("sync", "--tracking-uri", up["url"])
    assert "run others is of another store: left alone" in done.stderr
    assert client.get_run(run_id).info.status == "FINISHED"
    assert [one.path for one in client.list_artifacts(run_id)] == ["note.txt"]
    assert [path.name for path in (mlctl.state / "runs").iterdir()] == ["others"]


def test_only_a_server_on_this_database_is_named(mlctl: CommandLine) -> None:
    elsewhere = {"root": "/", "backend": "postgresql://u@db/mlflow", "bucket": None}
    uri = "postgresql+psycopg2://other:secret@db:5432/mlflow"
    with noted(mlctl), noted(mlctl, "else", place=elsewhere), noted(mlctl, "gone", started=1.0, birth=None):
        here = live_on(mlctl.state, f"sqlite:///{mlctl.cwd}/mlflow.db")
        assert [one["name"] for one in here] == ["main"]
        assert [one["name"] for one in live_on(mlctl.state, uri)] == ["else"]
        with pytest.raises(RefusedError) as refused:
            demand_reachable(uri, "digits", "mlflow-artifacts:/1", mlctl.state)
    assert "secret" not in refused.value.message
    assert refused.value.hint == "export MLFLOW_TRACKING_URI=http://127.0.0.1:9"
    demand_reachable("http://127.0.0.1:9", "digits", "mlflow-artifacts:/1", mlctl.state)


def beat(database: Path, run_id: str, at: float) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM tags WHERE key = 'mlctl.heartbeat'")
        connection.execute("INSERT INTO tags VALUES ('mlctl.heartbeat', ?, ?)", (f"{at:.0f}", run_id))
    connection.close()


def test_nothing_is_moved_from_under_whoever_writes_it(
    mlctl: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mlctl.cwd)
    client = MlflowClient(f"sqlite:///{mlctl.cwd}/mlflow.db")
    run_id = client.create_run(client.create_experiment("digits")).info.run_id
    client.log_text(run_id, "kept", "note.txt")
    adopting = ("server-up", "--workers", "1", "--adopt-artifacts", "--yes", "--port")
    with noted(mlctl, "second"):
        assert "second is up, and its clients may be writing" in mlctl.fails(4, *adopting, "0")
    beat(mlctl.cwd / "mlflow.db", run_id, time.time())
    assert f"run {run_id[:8]} of digits is alive" in mlctl.fails(4, *adopting, "0")
    beat(mlctl.cwd / "mlflow.db", run_id, time.time() - 100)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "is in use" in mlctl.fails(4, *adopting, str(taken.getsockname()[1]))
    assert list((mlctl.cwd / "mlruns").rglob("note.txt"))
    mlctl(*adopting, "0")
    assert list((mlctl.cwd / "mlartifacts").rglob("note.txt"))
    assert not list((mlctl.cwd / "mlruns").rglob("note.txt"))
