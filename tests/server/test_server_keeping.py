"""A server's data: adopted from local clients, backed up, restored, and garbage-collected."""

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

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("empty_database")]

ADMIN = "admin-Secret-4714"
LOGGING_CLIENT = Path(__file__).parents[1] / "parts" / "logging_client.py"


def make_runs(uri: str, folder: Path) -> None:
    """Log a run, a model and a version into each of two experiments."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "weights.bin").write_bytes(bytes(range(256)) * 40)
    for name in ("digits", "imdb"):
        experiment = client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else client.create_experiment(name)
        run = client.create_run(number, run_name=name).info.run_id
        for step in range(5):
            client.log_metric(run, "loss", 1 / (step + 1), step=step)
        client.log_param(run, "units", 64)
        client.log_text(run, f"a note about {name}", "notes/note.txt")
        logged = client.create_logged_model(number, name="model", source_run_id=run).model_id
        client.log_model_artifacts(logged, str(folder / "model"))
        client.finalize_logged_model(logged, "READY")
        if experiment is None:
            client.create_registered_model(name)
        version = client.create_model_version(name, f"models:/{logged}", run, model_id=logged).version
        client.set_registered_model_alias(name, "champion", version)
        client.transition_model_version_stage(name, version, "Production")
        client.set_terminated(run)


def read_back(uri: str) -> dict[str, Any]:
    """Return everything that make_runs has logged, artifacts by content, in a fixed order."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    content: dict[str, Any] = {}
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            history = client.get_metric_history(run.info.run_id, "loss")
            points = [(point.step, point.value, point.timestamp) for point in history]
            note = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/note.txt")
            content[run.info.run_id] = [
                experiment.name,
                run.info.run_name,
                dict(run.data.params),
                points,
                note,
            ]
    for model in client.search_registered_models():
        for version in client.search_model_versions(f"name = '{model.name}'"):
            uri = f"models:/{model.name}/{version.version}"
            with tempfile.TemporaryDirectory() as folder:
                files = Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder)).rglob("*.bin")
                checksums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
            content[uri] = [
                version.current_stage,
                {k: int(v) for k, v in model.aliases.items()},
                version.run_id,
                checksums,
            ]
    return content


@pytest.fixture(autouse=True)
def _run_in_the_working_directory(mlctl: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mlctl.cwd)


def sqlite_of(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def test_artifacts_of_local_clients_are_moved_behind_the_server(mlctl: CommandLine) -> None:
    make_runs(sqlite_of(mlctl.cwd), mlctl.cwd)
    before = read_back(sqlite_of(mlctl.cwd))
    up = mlctl("server-up", "--port", "0", "--workers", "1")
    assert "3 experiments keep artifacts in a folder of this machine" in up.stderr
    _, hint = mlctl.error(4, "server-up", "--adopt-artifacts", "--yes")
    assert "stop it first" in hint
    mlctl("server-down")

    planned = mlctl.json("server-up", "--adopt-artifacts", "--dry-run")
    files = {experiment["name"]: experiment["files"] for experiment in planned["movable"]}
    assert files == {"Default": 0, "digits": 2, "imdb": 2}
    assert "--yes" in mlctl("server-up", "--adopt-artifacts", code=4).stderr
    assert (mlctl.cwd / "mlruns").is_dir()
    up = mlctl.json("server-up", "--port", "0", "--workers", "1", "--adopt-artifacts", "--yes")
    assert not list((mlctl.cwd / "mlruns").rglob("note.txt"))
    assert read_back(up["url"]) == before
    connection = sqlite3.connect(mlctl.cwd / "mlflow.db")
    everything = "\n".join(connection.iterdump())
    connection.close()
    assert "/mlruns/" not in everything


def test_adoption_leaves_other_files_in_a_folder_that_a_user_chose(mlctl: CommandLine) -> None:
    client = MlflowClient(sqlite_of(mlctl.cwd))
    chosen, both = mlctl.cwd / "project", mlctl.cwd / "both"
    runs = {}
    for name, folder in (("chosen", chosen), ("one", both), ("two", both / "below")):
        number = client.create_experiment(name, artifact_location=folder.as_uri())
        runs[name] = client.create_run(number).info.run_id
        client.log_text(runs[name], f"of {name}", "note.txt")
    (chosen / "thesis.txt").write_text("years of work")
    planned = mlctl.json("server-up", "--adopt-artifacts", "--dry-run")
    assert {experiment["name"]: experiment["files"] for experiment in planned["movable"]}["chosen"] == 1
    assert [experiment["name"] for experiment in planned["elsewhere"]] == ["one", "two"]
    up = mlctl.json("server-up", "--port", "0", "--workers", "1", "--adopt-artifacts", "--yes")
    assert [file.name for file in chosen.rglob("*") if file.is_file()] == ["thesis.txt"]
    server_client = MlflowClient(up["url"])
    assert server_client.get_run(runs["chosen"]).info.artifact_uri.startswith("mlflow-artifacts:")
    for name, run in runs.items():
        assert Path(server_client.download_artifacts(run, "note.txt")).read_text() == f"of {name}"


@pytest.mark.needs("postgres")
@pytest.mark.needs("s3")
def test_a_backup_moves_from_sqlite_to_postgresql_and_back(
    mlctl: CommandLine, postgres: Postgres, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written while the server is in use, restored into the other kind of database and store, and back again."""
    secret = {"MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN}
    first = mlctl.json("server-up", "--port", "0", "--workers", "1", "--auth", env=secret)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN)
    make_runs(first["url"], mlctl.cwd)
    before = read_back(first["url"])
    saved = mlctl.cwd.parent / "saved.tar"
    summary = mlctl.json("server-backup", str(saved))
    assert (summary["runs"], summary["models"], summary["artifacts"]) == (2, 2, 4)
    make_runs(first["url"], mlctl.cwd)  # later runs are not in the backup
    assert "exists already" in mlctl.fails(4, "server-backup", str(saved))
    mlctl("server-down")

    bucket, database = s3.new_bucket(), postgres.new_database()
    mlctl.environment = {**s3.environment, "PGPASSWORD": PASSWORD}
    target = ("--backend", postgres.uri(database), "--bucket", bucket, "--endpoint-url", s3.url)
    assert mlctl.json("server-restore", str(saved), *target, "--dry-run")["runs"] == 2
    mlctl("server-restore", str(saved), *target, "--yes")
    assert "is not empty" in mlctl.fails(4, "server-restore", str(saved), *target, "--yes")
    second = mlctl.json("server-up", "--port", "0", "--workers", "1", *target, "--auth")
    assert read_back(second["url"]) == before
    make_runs(second["url"], mlctl.cwd)  # new rows get the next keys
    after = read_back(second["url"])
    assert len(after) == 8

    again = mlctl.cwd.parent / "again.tar"
    mlctl("server-backup", str(again))
    mlctl("server-down")
    assert "not empty" in mlctl.fails(4, "server-restore", str(again), "--yes")
    mlctl("server-restore", str(again), "--root", "third", "--yes")
    third = mlctl.json("server-up", "--port", "0", "--workers", "1", "--root", "third", "--auth")
    assert read_back(third["url"]) == after


def manifest(file: Path) -> Any:
    """Return the manifest of a backup."""
    with tarfile.open(file) as tar:
        return json.load(tar.extractfile("manifest.json") or io.BytesIO())


def test_a_backup_is_consistent_although_clients_write(mlctl: CommandLine) -> None:
    """It holds only checksums of the artifacts, and the restore needs the artifacts to be there already."""
    up = mlctl.json("server-up", "--port", "0", "--workers", "2")
    make_runs(up["url"], mlctl.cwd)
    # --root goes before the location of the running server
    assert f"{mlctl.cwd}/other/mlflow.db" in mlctl.fails(3, "server-gc", "--root", "other")
    assert "other/mlflow.db" in mlctl.fails(3, "server-backup", "other.tar", "--root", "other")
    environment = {**mlctl.full_environment(), "MLFLOW_TRACKING_URI": up["url"]}
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
    assert "is missing" in mlctl.fails(8, *restore)
    shutil.copytree(mlctl.cwd / "mlartifacts", mlctl.cwd / "again" / "mlartifacts", dirs_exist_ok=True)
    mlctl(*restore)
    mlctl("server-backup", "second.tar", "--no-artifacts", "--root", "again")
    first, second = (manifest(mlctl.cwd / name) for name in ("first.tar", "second.tar"))
    assert (first["tables"], first["artifacts"]) == (second["tables"], second["artifacts"])
    with contextlib.closing(sqlite3.connect(mlctl.cwd / "again" / "mlflow.db")) as connection:
        for run, steps in acknowledged.items():
            rows = connection.execute("SELECT step FROM metrics WHERE run_uuid = ? ORDER BY step", (run,))
            saved = [row[0] for row in rows]
            assert saved == list(range(1, len(saved) + 1))  # everything before one moment, nothing after it
            assert 0 < len(saved) <= max(steps)
            last = connection.execute("SELECT step FROM latest_metrics WHERE run_uuid = ?", (run,))
            assert last.fetchone()[0] == len(saved)


def test_a_damaged_backup_is_refused(mlctl: CommandLine) -> None:
    """So is a backup without the artifacts that a local client has put into a folder of its own."""
    make_runs(sqlite_of(mlctl.cwd), mlctl.cwd)
    assert "4 artifacts of digits, imdb are in folders" in mlctl.fails(4, "server-backup", "backup.tar")
    shutil.rmtree(mlctl.cwd / "mlruns")
    mlctl("server-backup", "backup.tar")
    intact = (mlctl.cwd / "backup.tar").read_bytes()
    for content in (intact[: len(intact) // 2], intact[:-11000], b"", b"not a tar archive" * 100):
        (mlctl.cwd / "damaged.tar").write_bytes(content)
        assert "is damaged" in mlctl.fails(8, "server-restore", "damaged.tar", "--root", "new", "--yes")
    changed = bytearray(intact)
    changed[intact.index(b"digits")] ^= 1
    (mlctl.cwd / "changed.tar").write_bytes(changed)
    assert "the checksum of" in mlctl.fails(8, "server-restore", "changed.tar", "--root", "new", "--yes")
    assert not (mlctl.cwd / "new").exists()


@pytest.mark.needs("s3")
def test_garbage_collection_keeps_what_a_registered_version_needs(mlctl: CommandLine, s3: S3) -> None:
    bucket = s3.new_bucket()
    mlctl.environment = s3.environment
    up = mlctl.json(
        "server-up", "--port", "0", "--workers", "1", "--bucket", bucket, "--endpoint-url", s3.url
    )
    make_runs(up["url"], mlctl.cwd)
    before = read_back(up["url"])
    client = MlflowClient(up["url"])
    for run in client.search_runs([client.get_experiment_by_name("digits").experiment_id]):
        client.delete_run(run.info.run_id)  # a registered version needs its model
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
    assert [text for text in planned["held"] if "digits/1" in text]
    done = mlctl.json("server-gc", "--yes")
    assert (done["objects"], done["size_bytes"], done["done"]) == (1102, 3100, True)
    assert mlctl.json("server-gc")["objects"] == 0
    assert "Contents" not in service.list_objects_v2(Bucket=bucket, Prefix=f"{loose.experiment_id}/")
    after = read_back(up["url"])
    assert {key: value for key, value in after.items() if "/" in key} == {
        key: value for key, value in before.items() if "/" in key
    }


@pytest.mark.needs("s3")
def test_all_commands_use_the_bucket_of_mlctl_toml(mlctl: CommandLine, s3: S3) -> None:
    source_bucket, target_bucket = s3.new_bucket(), s3.new_bucket()
    project = mlctl.cwd / "mlctl.toml"
    mlctl.environment = {**s3.environment, "AWS_ENDPOINT_URL_S3": s3.url}
    project.write_text(f'bucket = "{source_bucket}"\n')
    up = mlctl.json("server-up", "--port", "0", "--workers", "1")
    make_runs(up["url"], mlctl.cwd)
    mlctl("server-down")
    mlctl.state = mlctl.cwd / "another state folder"
    mlctl("server-backup", "backup.tar")
    assert mlctl.json("server-gc")["runs"] == []
    project.write_text(f'bucket = "{target_bucket}"\n')
    mlctl("server-restore", "backup.tar", "--root", "elsewhere", "--yes")
    original, restored = (
        [item["Key"] for item in s3.client().list_objects_v2(Bucket=bucket)["Contents"]]
        for bucket in (source_bucket, target_bucket)
    )
    assert restored == original
