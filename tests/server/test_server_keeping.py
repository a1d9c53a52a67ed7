"""What a server keeps: taken over from local clients, backed up, restored, and swept."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from parts.command_line import CommandLine

MAKE_RUNS = """
import mlflow, pathlib, sys
from mlflow import MlflowClient
mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()
for name in ("digits", "imdb"):
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name)
    run = client.create_run(number, run_name=name).info.run_id
    for step in range(5):
        client.log_metric(run, "loss", 1 / (step + 1), step=step)
    client.log_param(run, "units", 64)
    client.log_text(run, f"a note about {name}", "notes/note.txt")
    logged = client.create_logged_model(number, name="model", source_run_id=run)
    folder = pathlib.Path("made"); folder.mkdir(exist_ok=True); (folder / "weights.bin").write_bytes(bytes(range(256)) * 40)
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    try:
        client.create_registered_model(name)
    except Exception:
        pass
    version = client.create_model_version(name, f"models:/{logged.model_id}", run, model_id=logged.model_id).version
    client.set_registered_model_alias(name, "champion", version)
    client.transition_model_version_stage(name, version, "Production")
    client.set_terminated(run)
"""

READ_BACK = """
import hashlib, json, sys, mlflow, tempfile, pathlib
from mlflow import MlflowClient
mlflow.set_tracking_uri(sys.argv[1])
client, seen = MlflowClient(), {}
for experiment in sorted(client.search_experiments(), key=lambda e: e.name):
    for run in client.search_runs([experiment.experiment_id], order_by=["start_time ASC"]):
        history = [(p.step, p.value, p.timestamp) for p in client.get_metric_history(run.info.run_id, "loss")]
        note = mlflow.artifacts.load_text(run.info.artifact_uri + "/notes/note.txt")
        seen[run.info.run_id] = [experiment.name, run.info.run_name, run.data.params, history, note]
for model in client.search_registered_models():
    for version in client.search_model_versions(f"name = '{model.name}'"):
        folder = pathlib.Path(mlflow.artifacts.download_artifacts(f"models:/{model.name}/{version.version}", dst_path=tempfile.mkdtemp()))
        files = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*") if f.is_file()}
        seen[f"{model.name}/{version.version}"] = [version.current_stage, sorted(model.aliases), version.run_id, files]
print(json.dumps(seen, sort_keys=True))
"""


def client(mlctl: CommandLine, script: str, uri: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, uri],
        cwd=cwd or mlctl.cwd, env=mlctl.whole_environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_local_clients_made_is_moved_behind_the_server(mlctl: CommandLine) -> None:
    client(mlctl, MAKE_RUNS, "sqlite:///mlflow.db")
    before = client(mlctl, READ_BACK, "sqlite:///mlflow.db")
    up = mlctl("server-up", "--port", "0", "--workers", "1")
    assert "3 experiments keep artifacts in a folder of this machine" in up.stderr
    mlctl("server-down")

    planned = mlctl.json("server-up", "--adopt-artifacts", "--dry-run")
    assert [(one["name"], one["files"]) for one in planned["movable"]] == [
        ("Default", 0), ("digits", 2), ("imdb", 2),
    ]  # fmt: skip
    assert "--yes" in mlctl("server-up", "--adopt-artifacts", code=4).stderr
    assert (mlctl.cwd / "mlruns").is_dir()
    up = mlctl.json("server-up", "--port", "0", "--workers", "1", "--adopt-artifacts", "--yes")
    assert not list((mlctl.cwd / "mlruns").rglob("note.txt"))
    far = mlctl.cwd.parent / "another-machine"
    far.mkdir()
    assert client(mlctl, READ_BACK, up["url"], cwd=far) == before
    connection = sqlite3.connect(mlctl.cwd / "mlflow.db")
    everything = "\n".join(connection.iterdump())
    connection.close()
    assert "/mlruns/" not in everything
