"""What a server keeps: taken over from local clients, backed up, restored, and swept."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from parts.command_line import CommandLine
from parts.postgres import PASSWORD, Postgres
from parts.s3 import S3

ADMIN = "admin-Secret-4714"

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


@pytest.mark.needs("postgres")
@pytest.mark.needs("s3")
def test_a_backup_moves_from_sqlite_to_postgresql_and_back(
    mlctl: CommandLine, postgres: Postgres, s3: S3
) -> None:
    """Made while the server is in use, restored into the other kind of place, and from there back again."""
    first = mlctl.json(
        "server-up", "--port", "0", "--workers", "1", "--auth", more={"MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN}
    )
    mlctl.environment = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": ADMIN}
    client(mlctl, MAKE_RUNS, first["url"])
    saved = mlctl.cwd.parent / "saved.tar"
    told = mlctl.json("server-backup", str(saved))
    assert (told["runs"], told["models"], told["artifacts"]) == (2, 2, 4)
    client(mlctl, MAKE_RUNS, first["url"])  # what comes later is not in it
    assert "is there already" in mlctl.fails(4, "server-backup", str(saved))
    mlctl("server-down")

    bucket, database = s3.new_bucket(), postgres.new_database()
    mlctl.environment |= {**s3.environment, "PGPASSWORD": PASSWORD}
    away = ("--backend", postgres.uri(database), "--bucket", bucket, "--endpoint-url", s3.url)
    assert mlctl.json("server-restore", str(saved), *away, "--dry-run")["runs"] == 2
    mlctl("server-restore", str(saved), *away, "--yes")
    assert "is not empty" in mlctl.fails(4, "server-restore", str(saved), *away, "--yes")
    second = mlctl.json("server-up", "--port", "0", "--workers", "1", *away, "--auth")
    there = client(mlctl, READ_BACK, second["url"])
    client(mlctl, MAKE_RUNS, second["url"])  # the sequences of its keys go on where they were
    assert len(json.loads(client(mlctl, READ_BACK, second["url"]))) == 8

    again = mlctl.cwd.parent / "again.tar"
    mlctl("server-backup", str(again))
    mlctl("server-down")
    assert "not empty" in mlctl.fails(4, "server-restore", str(again), "--yes")
    mlctl("server-restore", str(again), "--root", "third", "--yes")
    third = mlctl.json("server-up", "--port", "0", "--workers", "1", "--root", "third", "--auth")
    back = json.loads(client(mlctl, READ_BACK, third["url"]))
    assert len(back) == 8
    assert {key: back[key] for key in json.loads(there)} == json.loads(there)
    assert all(len(value) == 5 and len(value[3]) == 5 for key, value in back.items() if "/" not in key)


def test_a_torn_backup_is_refused(mlctl: CommandLine) -> None:
    client(mlctl, MAKE_RUNS, "sqlite:///mlflow.db")
    mlctl("server-backup", "whole.tar")
    whole = (mlctl.cwd / "whole.tar").read_bytes()
    for number, torn in enumerate(
        (whole[: len(whole) // 2], whole[:-11000], b"", b"nothing of the kind" * 100)
    ):
        (mlctl.cwd / f"torn{number}.tar").write_bytes(torn)
        assert "torn" in mlctl.fails(8, "server-restore", f"torn{number}.tar", "--root", "new", "--yes")
    changed = bytearray(whole)
    changed[whole.index(b"digits")] ^= 1
    (mlctl.cwd / "changed.tar").write_bytes(changed)
    assert "is not what it was" in mlctl.fails(8, "server-restore", "changed.tar", "--root", "new", "--yes")
    assert not (mlctl.cwd / "new").exists()


SWEEP_THIS = """
import mlflow, sys
from mlflow import MlflowClient
mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()
digits = client.get_experiment_by_name("digits").experiment_id
for run in client.search_runs([digits]):
    client.delete_run(run.info.run_id)            # its model is registered: held
loose = client.create_run(client.create_experiment("loose")).info
client.log_text(loose.run_id, "x" * 1000, "note.txt")
client.delete_run(loose.run_id)
gone = client.create_run(client.create_experiment("gone")).info
client.log_text(gone.run_id, "y" * 1000, "note.txt")
client.delete_experiment(gone.experiment_id)
print(gone.experiment_id, loose.experiment_id, loose.run_id)
"""


@pytest.mark.needs("s3")
def test_a_sweep_frees_what_is_deleted_and_keeps_what_is_held(mlctl: CommandLine, s3: S3) -> None:
    bucket = s3.new_bucket()
    mlctl.environment = s3.environment
    up = mlctl.json(
        "server-up", "--port", "0", "--workers", "1", "--bucket", bucket, "--endpoint-url", s3.url
    )
    client(mlctl, MAKE_RUNS, up["url"])
    before = client(mlctl, READ_BACK, up["url"])
    gone, loose, run = client(mlctl, SWEEP_THIS, up["url"]).split()
    many = s3.data / bucket / loose / run / "artifacts" / "many"
    many.mkdir()
    for number in range(1100):
        (many / str(number)).write_bytes(b"z")

    planned = mlctl.json("server-gc")
    assert (planned["objects"], len(planned["runs"]), planned["experiments"], planned["done"]) == (
        1102,
        2,
        [gone],
        False,
    )
    assert [one for one in planned["held"] if "digits/1" in one]
    swept = mlctl.json("server-gc", "--yes")
    assert (swept["objects"], swept["size_bytes"], swept["done"]) == (1102, 3100, True)
    assert mlctl.json("server-gc")["objects"] == 0
    assert not [file for file in (s3.data / bucket / loose).rglob("*") if file.is_file()]
    left = json.loads(client(mlctl, READ_BACK, up["url"]))
    assert {key: value for key, value in left.items() if "/" in key} == {
        key: value for key, value in json.loads(before).items() if "/" in key
    }
