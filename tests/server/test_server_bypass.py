"""Clients that write to a server's database directly: mlctl refuses what would be lost, and can still send records."""

from __future__ import annotations

import socket
import sqlite3
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlctl.adapters.runlog.journal import Journal
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.system.local_servers import running_servers
from mlctl.adapters.tracking.artifact_access import require_artifact_access
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import NullProgress
from mlctl.errors import RefusedError
from tests.parts.command_line import CommandLine
from tests.parts.fake_server import fake_server

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("empty_database")]


def test_a_record_of_the_servers_database_is_sent_through_the_server(
    mlctl: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mlctl.cwd)
    server = mlctl.json("server-up", "--port", "0", "--workers", "1")
    client = MlflowClient(server["url"])
    experiment = client.create_experiment("digits")
    with pytest.raises(RefusedError, match="behind a tracking server") as caught:
        Recorder.create(
            TrackingStore("sqlite:///mlflow.db", create=True),
            experiment="digits",
            run_name=None,
            tags={},
            state_dir=mlctl.state,
            listener=NullProgress(),
        )
    assert caught.value.hint == f"run: export MLFLOW_TRACKING_URI={server['url']}"
    assert client.search_runs([experiment]) == []

    run_id = client.create_run(experiment).info.run_id
    for name, journal_run_id in (("mine", run_id), ("others", "f" * 32)):
        journal = Journal(mlctl.state / "runs" / name)
        journal.update_header(
            tracking_uri="sqlite:///mlflow.db",
            experiment="digits",
            experiment_id=experiment,
            run_id=journal_run_id,
            run_name=name,
            tags={},
            began=1,
        )
        (journal.files / "note.txt").write_text("kept")
        journal.add({"kind": "artifact", "path": "note.txt"})
        journal.add({"kind": "finish", "status": "FINISHED", "at": 2})
        journal.close()
    assert client.get_run(run_id).info.status == "RUNNING"
    mlctl("sync", code=None)
    assert client.get_run(run_id).info.status == "RUNNING"
    done = mlctl("sync", "--tracking-uri", server["url"])
    assert "run others belongs to another store: skipped" in done.stderr
    assert client.get_run(run_id).info.status == "FINISHED"
    assert [artifact.path for artifact in client.list_artifacts(run_id)] == ["note.txt"]
    assert [path.name for path in (mlctl.state / "runs").iterdir()] == ["others"]


def test_an_error_names_the_server_of_this_database(mlctl: CommandLine) -> None:
    postgres = {"root": "/", "backend": "postgresql://u@db/mlflow", "bucket": None}
    uri = "postgresql+psycopg2://other:secret@db:5432/mlflow"
    with (
        fake_server(mlctl),
        fake_server(mlctl, "else", place=postgres),
        fake_server(mlctl, "gone", started=1.0, birth=None),
    ):
        servers = running_servers(mlctl.state, f"sqlite:///{mlctl.cwd}/mlflow.db")
        assert [server["name"] for server in servers] == ["main"]
        assert [server["name"] for server in running_servers(mlctl.state, uri)] == ["else"]
        with pytest.raises(RefusedError) as caught:
            require_artifact_access(
                uri, experiment="digits", artifact_location="mlflow-artifacts:/1", state_dir=mlctl.state
            )
    assert "secret" not in caught.value.message
    assert caught.value.hint == "run: export MLFLOW_TRACKING_URI=http://127.0.0.1:9"
    require_artifact_access(
        "http://127.0.0.1:9",
        experiment="digits",
        artifact_location="mlflow-artifacts:/1",
        state_dir=mlctl.state,
    )


def write_heartbeat(database: Path, run_id: str, timestamp: float) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM tags WHERE key = 'mlctl.heartbeat'")
        connection.execute("INSERT INTO tags VALUES ('mlctl.heartbeat', ?, ?)", (f"{timestamp:.0f}", run_id))
    connection.close()


def test_adoption_is_refused_while_a_server_or_a_run_writes(
    mlctl: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mlctl.cwd)
    client = MlflowClient(f"sqlite:///{mlctl.cwd}/mlflow.db")
    run_id = client.create_run(client.create_experiment("digits")).info.run_id
    client.log_text(run_id, "kept", "note.txt")
    adopt = ("server-up", "--workers", "1", "--adopt-artifacts", "--yes", "--port")
    with fake_server(mlctl, "second"):
        assert "server second is up, and its clients may be writing" in mlctl.fails(4, *adopt, "0")
    write_heartbeat(mlctl.cwd / "mlflow.db", run_id, time.time())
    assert f"run {run_id[:8]} of digits is still writing" in mlctl.fails(4, *adopt, "0")
    write_heartbeat(mlctl.cwd / "mlflow.db", run_id, time.time() - 100)
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert "is in use" in mlctl.fails(4, *adopt, str(other.getsockname()[1]))
    assert list((mlctl.cwd / "mlruns").rglob("note.txt"))
    mlctl(*adopt, "0")
    assert list((mlctl.cwd / "mlartifacts").rglob("note.txt"))
    assert not list((mlctl.cwd / "mlruns").rglob("note.txt"))
