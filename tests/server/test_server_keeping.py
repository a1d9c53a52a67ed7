"""What a server keeps: taken over from local clients, backed up, restored, and swept."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from tests.parts.command_line import CommandLine
from tests.parts.postgres import PASSWORD, Postgres
from tests.parts.s3 import S3

ADMIN = "admin-Secret-4714"
LOGGING_CLIENT = Path(__file__).parents[1] / "parts" / "logging_client.py"


def make_runs(uri: str, folder: Path) -> None:
    """Log a run, a model and a version into each of two experiments."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    (folder / "made").mkdir(exist_ok=True)
    (folder / "made" / "weights.bin").write_bytes(bytes(range(256)) * 40)
    for name in ("digits", "imdb"):
        experiment = client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else client.create_experiment(name)
        run = client.create_run(number, run_name=name).info.run_id
        for step in range(5):
            client.log_metric(run, "loss", 1 / (step + 1), step=step)
        client.log_param(run, "units", 64)
        client.log_text(run, f"a note about {name}", "notes/note.txt")
        logged = client.create_logged_model(number, name="model", source_run_id=run).model_id
        client.log_model_artifacts(logged, str(folder / "made"))
        client.finalize_logged_model(logged, "READY")
        if experiment is None:
            client.create_registered_model(name)
        version = client.create_model_version(name, f"models:/{logged}", run, model_id=logged).version
        client.set_registered_model_alias(name, "champion", version)
        client.transition_model_version_stage(name, version, "Production")
        client.set_terminated(run)


def read_back(uri: str) -> dict[str, Any]:
    """Return all that make_runs has logged, artifacts by content, in an order that does not change."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    seen: dict[str, Any] = {}
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            history = client.get_metric_history(run.info.run_id, "loss")
            points = [(point.step, point.value, point.timestamp) for point in history]
            note = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/note.txt")
            seen[run.info.run_id] = [experiment.name, run.info.run_name, dict(run.data.params), points, note]
    for model in client.search_registered_models():
        for version in client.search_model_versions(f"name = '{model.name}'"):
            at = f"models:/{model.name}/{version.version}"
            with tempfile.TemporaryDirectory() as folder:
                files = Path(mlflow.artifacts.download_artifacts(at, dst_path=folder)).rglob("*.bin")
                content = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
            seen[at] = [
                version.current_stage,
                {k: int(v) for k, v in model.aliases.items()},
                version.run_id,
                content,
            ]
    return seen


@pytest.fixture(autouse=True)
def _local_clients_write_here(mlctl: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mlctl.cwd)


def sqlite_of(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def test_what_local_clients_made_is_moved_behind_the_server(mlctl: CommandLine) -> None:
    make_runs(sqlite_of(mlctl.cwd), mlctl.cwd)
    before = read_back(sqlite_of(mlctl.cwd))
    up = mlctl("server-up", "--port", "0", "--workers", "1")
    assert "3 experiments keep artifacts in a folder of this machine" in up.stderr
    assert "stop it first" in mlctl("server-up", "--adopt-artifacts", "--yes", code=4).stderr
    mlctl("server-down")

    planned = mlctl.json("server-up", "--adopt-artifacts", "--dry-run")
    assert [(one["name"], one["files"]) for one in planned["movable"]] == [
        ("Default", 0), ("digits", 2), ("imdb", 2),
    ]  # fmt: skip
    assert "--yes" in mlctl("server-up", "--adopt-artifacts", code=4).stderr
    assert (mlctl.cwd / "mlruns").is_dir()
    up = mlctl.json("server-up", "--port", "0", "--workers", "1", "--adopt-artifacts", "--yes")
    assert not list((mlctl.cwd / "mlruns").rglob("note.txt"))
    assert read_back(up["url"]) == before
    connection = sqlite3.connect(mlctl.cwd / "mlflow.db")
    everything = "\n".join(connection.iterdump())
    connection.close()
    assert "/mlruns/" not in everything


def test_adopting_takes_nothing_else_out_of_a_folder_that_a_user_chose(mlctl: CommandLine) -> None:
    client = MlflowClient(sqlite_of(mlctl.cwd))
    chosen, both = mlctl.cwd / "project", mlctl.cwd / "both"
    runs = {}
    for name, folder in (("chosen", chosen), ("one", both), ("two", both / "below")):
        number = client.create_experiment(name, artifact_location=folder.as_uri())
        runs[name] = client.create_run(number).info.run_id
        client.log_text(runs[name], f"of {name}", "note.txt")
    (chosen / "thesis.txt").write_text("years of work")
    planned = mlctl.json("server-up", "--adopt-artifacts", "--dry-run")
    assert {one["name"]: one["files"] for one in planned["movable"]}["chosen"] == 1
    assert [one["name"] for one in planned["elsewhere"]] == ["one", "two"]
    up = mlctl.json("server-up", "--port", "0", "--workers", "1", "--adopt-artifacts", "--yes")
    assert [one.name for one in chosen.rglob("*") if one.is_file()] == ["thesis.txt"]
    behind = MlflowClient(up["url"])
    assert behind.get_run(runs["chosen"]).info.artifact_uri.startswith("mlflow-artifacts:")
    for name, run in runs.items():
        assert Path(behind.download_artifacts(run, "note.txt")).read_text() == f"of {name}"


@pytest.mark.needs("postgres")
@pytest.mark.needs("s3")
def test_a_backup_moves_from_sqlite_to_postgresql_and_back(
    mlctl: CommandLine, postgres: Postgres, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made while the server is in use, restored into the other kind of place, and from there back again."""
    secret = {"MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN}
    first = mlctl.json("server-up", "--port", "0", "--workers", "1", "--auth", more=secret)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN)
    make_runs(first["url"], mlctl.cwd)
    made = read_back(first["url"])
    saved = mlctl.cwd.parent / "saved.tar"
    told = mlctl.json("server-backup", str(saved))
    assert (told["runs"], told["models"], told["artifacts"]) == (2, 2, 4)
    make_runs(first["url"], mlctl.cwd)  # what comes later is not in it
    assert "is there already" in mlctl.fails(4, "server-backup", str(saved))
    mlctl("server-down")

    bucket, database = s3.new_bucket(), postgres.new_database()
    mlctl.environment = {**s3.environment, "PGPASSWORD": PASSWORD}
    away = ("--backend", postgres.uri(database), "--bucket", bucket, "--endpoint-url", s3.url)
    assert mlctl.json("server-restore", str(saved), *away, "--dry-run")["runs"] == 2
    mlctl("server-restore", str(saved), *away, "--yes")
    assert "is not empty" in mlctl.fails(4, "server-restore", str(saved), *away, "--yes")
    second = mlctl.json("server-up", "--port", "0", "--workers", "1", *away, "--auth")
    assert read_back(second["url"]) == made
    make_runs(second["url"], mlctl.cwd)  # the sequences of its keys go on where they were
    there = read_back(second["url"])
    assert len(there) == 8

    again = mlctl.cwd.parent / "again.tar"
    mlctl("server-backup", str(again))
    mlctl("server-down")
    assert "not empty" in mlctl.fails(4, "server-restore", str(again), "--yes")
    mlctl("server-restore", str(again), "--root", "third", "--yes")
    third = mlctl.json("server-up", "--port", "0", "--workers", "1", "--root", "third", "--auth")
    assert read_back(third["url"]) == there


def manifest(file: Path) -> Any:
    """Return what a backup says of itself."""
    with tarfile.open(file) as tar:
        return json.load(tar.extractfile("manifest.json") or io.BytesIO())


def test_a_backup_is_one_moment_although_clients_write(mlctl: CommandLine) -> None:
    """Its artifacts have a backup of their own: it knows their checksums, and asks for them first."""
    up = mlctl.json("server-up", "--port", "0", "--workers", "2")
    make_runs(up["url"], mlctl.cwd)
    # a server of this name is noted, and yet a place that is named is the one that is meant
    assert f"{mlctl.cwd}/other/mlflow.db" in mlctl.fails(3, "server-gc", "--root", "other")
    assert "other/mlflow.db" in mlctl.fails(3, "server-backup", "other.tar", "--root", "other")
    environment = {**mlctl.whole_environment(), "MLFLOW_TRACKING_URI": up["url"]}
    clients = subprocess.Popen(
        [sys.executable, LOGGING_CLIENT, "4", "100"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert clients.stdout
    assert clients.stdout.readline() == "logging\n"
    time.sleep(1)
    mlctl("server-backup", "first.tar", "--no-artifacts")
    assert clients.poll() is None
    clients.terminate()
    acknowledged = json.loads(clients.communicate(timeout=120)[0].splitlines()[-1])
    mlctl("server-down")

    restore = ("server-restore", "first.tar", "--root", "again", "--yes")
    assert "as it was" in mlctl.fails(8, *restore)
    shutil.copytree(mlctl.cwd / "mlartifacts", mlctl.cwd / "again" / "mlartifacts", dirs_exist_ok=True)
    mlctl(*restore)
    mlctl("server-backup", "second.tar", "--no-artifacts", "--root", "again")
    first, second = (manifest(mlctl.cwd / name) for name in ("first.tar", "second.tar"))
    assert (first["tables"], first["artifacts"]) == (second["tables"], second["artifacts"])
    with contextlib.closing(sqlite3.connect(mlctl.cwd / "again" / "mlflow.db")) as connection:
        for run, steps in acknowledged.items():
            found = connection.execute("SELECT step FROM metrics WHERE run_uuid = ? ORDER BY step", (run,))
            kept = [row[0] for row in found]
            assert kept == list(range(1, len(kept) + 1))  # all before that moment, and nothing after it
            assert 0 < len(kept) <= max(steps)
            last = connection.execute("SELECT step FROM latest_metrics WHERE run_uuid = ?", (run,))
            assert last.fetchone()[0] == len(kept)


def test_a_torn_backup_is_refused(mlctl: CommandLine) -> None:
    """And one that would hold no artifact, since a local client has put them into a folder of its own."""
    make_runs(sqlite_of(mlctl.cwd), mlctl.cwd)
    assert "4 artifacts of digits, imdb are in folders" in mlctl.fails(4, "server-backup", "whole.tar")
    shutil.rmtree(mlctl.cwd / "mlruns")
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


@pytest.mark.needs("s3")
def test_a_sweep_frees_what_is_deleted_and_keeps_what_is_held(mlctl: CommandLine, s3: S3) -> None:
    bucket = s3.new_bucket()
    mlctl.environment = s3.environment
    up = mlctl.json(
        "server-up", "--port", "0", "--workers", "1", "--bucket", bucket, "--endpoint-url", s3.url
    )
    make_runs(up["url"], mlctl.cwd)
    before = read_back(up["url"])
    client = MlflowClient(up["url"])
    for run in client.search_runs([client.get_experiment_by_name("digits").experiment_id]):
        client.delete_run(run.info.run_id)  # its model is registered: held
    loose, gone = (client.create_run(client.create_experiment(name)).info for name in ("loose", "gone"))
    client.log_text(loose.run_id, "x" * 1000, "note.txt")
    client.log_text(gone.run_id, "y" * 1000, "note.txt")
    client.delete_run(loose.run_id)
    client.delete_experiment(gone.experiment_id)
    service, many = s3.client(), f"{loose.experiment_id}/{loose.run_id}/artifacts/many"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: service.put_object(Bucket=bucket, Key=f"{many}/{n}", Body=b"z"), range(1100)))

    planned = mlctl.json("server-gc")
    assert (planned["objects"], len(planned["runs"]), planned["experiments"], planned["done"]) == (
        1102,
        2,
        [gone.experiment_id],
        False,
    )
    assert [one for one in planned["held"] if "digits/1" in one]
    swept = mlctl.json("server-gc", "--yes")
    assert (swept["objects"], swept["size_bytes"], swept["done"]) == (1102, 3100, True)
    assert mlctl.json("server-gc")["objects"] == 0
    assert "Contents" not in service.list_objects_v2(Bucket=bucket, Prefix=f"{loose.experiment_id}/")
    left = read_back(up["url"])
    assert {key: value for key, value in left.items() if "/" in key} == {
        key: value for key, value in before.items() if "/" in key
    }


@pytest.mark.needs("s3")
def test_the_bucket_of_a_project_is_that_of_all_commands(mlctl: CommandLine, s3: S3) -> None:
    ours, other = s3.new_bucket(), s3.new_bucket()
    project = mlctl.cwd / "mlctl.toml"
    mlctl.environment = {**s3.environment, "AWS_ENDPOINT_URL_S3": s3.url}
    project.write_text(f'bucket = "{ours}"\n')
    up = mlctl.json("server-up", "--port", "0", "--workers", "1")
    make_runs(up["url"], mlctl.cwd)
    mlctl("server-down")
    mlctl.state = mlctl.cwd / "no notes of any server"
    mlctl("server-backup", "whole.tar")
    assert mlctl.json("server-gc")["runs"] == []
    project.write_text(f'bucket = "{other}"\n')
    mlctl("server-restore", "whole.tar", "--root", "elsewhere", "--yes")
    kept, restored = (s3.client().list_objects_v2(Bucket=one)["Contents"] for one in (ours, other))
    assert [one["Key"] for one in restored] == [one["Key"] for one in kept]
