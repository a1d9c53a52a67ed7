"""server-restore: the destinations that it accepts. It checks everything before it changes anything."""

from __future__ import annotations

import contextlib
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy
from mlflow import MlflowClient

from mlctl.adapters.database import dump, schema
from mlctl.domain.server import ServerLocation
from mlctl.errors import MlctlError, RefusedError
from mlctl.services.server.backup import write_backup
from mlctl.services.server.restore import restore_backup
from mlctl.services.server.server_location import build_location
from tests.parts.command_line import CommandLine
from tests.parts.postgres import PASSWORD, Postgres
from tests.parts.s3 import S3

NewStore = Callable[[Path], str]


@pytest.fixture
def saved(tmp_path: Path, new_store: NewStore) -> Path:
    """A backup of one run and one artifact."""
    source = tmp_path / "source"
    MlflowClient(new_store(source)).create_run("0", run_name="saved")
    (source / "mlartifacts").mkdir()
    (source / "mlartifacts" / "note.txt").write_text("a note")
    write_backup(build_location(source), tmp_path / "saved.tar", with_artifacts=True)
    return tmp_path / "saved.tar"


def run_names(location: ServerLocation) -> list[str]:
    with dump.open_engine(location.backend) as engine, engine.connect() as connection:
        return [row[0] for row in connection.execute(sqlalchemy.text("SELECT name FROM runs"))]


def refusal(location: ServerLocation, file: Path) -> MlctlError:
    """Return the error of a restore that is refused and stores no artifact."""
    with pytest.raises(RefusedError) as caught:
        restore_backup(location, file)
    assert not [path for path in location.folder.rglob("*") if path.is_file()]
    return caught.value


@pytest.mark.parametrize("content", ["an experiment", "a trace", "a name for the first experiment"])
def test_a_store_with_content_is_refused(
    content: str, tmp_path: Path, saved: Path, new_store: NewStore
) -> None:
    client = MlflowClient(new_store(tmp_path / "target"))
    if content == "a trace":
        with contextlib.closing(sqlite3.connect(tmp_path / "target" / "mlflow.db")) as connection:
            connection.execute(
                "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status)"
                " VALUES ('tr-1', 0, 1, 'OK')"
            )
            connection.commit()
    elif content == "an experiment":
        client.create_experiment("mine")
    else:
        client.rename_experiment("0", "mine")
    before = (tmp_path / "target" / "mlflow.db").read_bytes()
    assert "is not empty: it has " in refusal(build_location(tmp_path / "target"), saved).message
    assert (tmp_path / "target" / "mlflow.db").read_bytes() == before


def test_an_empty_store_is_accepted(tmp_path: Path, saved: Path, new_store: NewStore) -> None:
    """Rows that migrations and a running server write by themselves do not count."""
    new_store(tmp_path / "target")
    with contextlib.closing(sqlite3.connect(tmp_path / "target" / "mlflow.db")) as connection:
        connection.execute("INSERT INTO scheduler_leases VALUES ('some', 1, 1)")
        connection.commit()
    location = build_location(tmp_path / "target")
    restore_backup(location, saved)
    assert run_names(location) == ["saved"]
    assert (location.folder / "note.txt").read_text() == "a note"


@pytest.mark.live
@pytest.mark.needs("postgres")
def test_tables_of_another_program_are_neither_changed_nor_saved(
    tmp_path: Path, saved: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    location = build_location(tmp_path / "target", backend=postgres.uri(postgres.new_database()))
    with dump.open_engine(location.backend) as engine, engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE customers (name text)"))
        connection.execute(sqlalchemy.text("INSERT INTO customers VALUES ('Ada'), ('Grace')"))
    restore_backup(location, saved)
    with dump.open_engine(location.backend) as engine, engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM customers")).scalar() == 2
    write_backup(location, tmp_path / "again.tar", with_artifacts=True)
    with tarfile.open(tmp_path / "again.tar") as tar:
        assert not [name for name in tar.getnames() if "customers" in name]
    assert run_names(location) == ["saved"]


def test_a_backup_of_an_older_schema_needs_a_database_without_tables(
    tmp_path: Path, new_store: NewStore
) -> None:
    older = schema.revisions()[schema.newest_revision()]
    assert older
    source, current, new = (build_location(tmp_path / name) for name in ("source", "current", "new"))
    dump.create_schema(source.backend, {"alembic_version": older})
    write_backup(source, tmp_path / "older.tar", with_artifacts=True)
    new_store(current.root)
    error = refusal(current, tmp_path / "older.tar")
    assert older in error.message
    assert "--upgrade-db" in error.hint
    restore_backup(new, tmp_path / "older.tar")
    with dump.open_engine(new.backend) as engine, engine.connect() as connection:
        assert dump.read_revisions(connection) == {"alembic_version": older}


def test_a_restore_that_failed_can_be_repeated(
    tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = build_location(tmp_path / "target")

    def fail(*_: object, **__: object) -> None:
        raise RefusedError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(dump, "load_rows", fail)
        assert refusal(location, saved).message == "the disk is full"
    restore_backup(location, saved)
    assert run_names(location) == ["saved"]


def test_a_backup_reports_the_artifacts_that_it_does_not_hold(tmp_path: Path, new_store: NewStore) -> None:
    client = MlflowClient(new_store(tmp_path / "source"))
    for name, uri in (
        ("away", "s3://other/place"),
        ("theirs", "/no/such/folder"),
        ("ours", "mlflow-artifacts:/3"),
    ):
        client.create_experiment(name, uri)
    client.create_registered_model("nothing")
    summary = write_backup(build_location(tmp_path / "source"), tmp_path / "saved.tar", with_artifacts=True)
    assert summary.elsewhere == (
        "s3://other/place, of experiment away",
        "/no/such/folder, of experiment theirs",
    )
    assert summary.backend == f"sqlite:///{tmp_path}/source/mlflow.db"


@pytest.mark.live
@pytest.mark.needs("s3")
def test_locations_in_a_bucket_are_changed_to_the_new_bucket(
    tmp_path: Path, new_store: NewStore, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that write to the bucket themselves have stored its name in the database."""
    for name, value in {**s3.environment, "MLFLOW_S3_ENDPOINT_URL": s3.url}.items():
        monkeypatch.setenv(name, value)
    old, new = s3.new_bucket(), s3.new_bucket()
    client = MlflowClient(new_store(tmp_path / "source"))
    run = client.create_run(client.create_experiment("direct", f"s3://{old}/team/1")).info
    lookalike = client.create_experiment("lookalike", f"s3://{old}/teams")
    client.log_text(run.run_id, "a note", "note.txt")
    source = build_location(tmp_path / "source", bucket=old, prefix="team", endpoint_url=s3.url)
    assert write_backup(source, tmp_path / "saved.tar", with_artifacts=True).elsewhere == (
        f"s3://{old}/teams, of experiment lookalike",
    )

    into_bucket = build_location(tmp_path / "bucket", bucket=new, endpoint_url=s3.url)
    into_folder = build_location(tmp_path / "folder")
    for location, root in ((into_bucket, f"s3://{new}"), (into_folder, "mlflow-artifacts:")):
        restore_backup(location, tmp_path / "saved.tar")
        restored = MlflowClient(location.backend.uri)
        assert restored.get_run(run.run_id).info.artifact_uri == f"{root}/1/{run.run_id}/artifacts"
        assert restored.get_experiment(run.experiment_id).artifact_location == f"{root}/1"
        assert restored.get_experiment(lookalike).artifact_location == f"s3://{old}/teams"
    key = f"1/{run.run_id}/artifacts/note.txt"
    assert s3.client().get_object(Bucket=new, Key=key)["Body"].read() == b"a note"
    assert (tmp_path / "folder" / "mlartifacts" / key).read_text() == "a note"


@pytest.mark.live
@pytest.mark.needs("s3")
def test_a_dry_run_reports_a_missing_bucket_as_the_real_run_does(
    mlctl: CommandLine, saved: Path, s3: S3
) -> None:
    mlctl.environment = s3.environment
    target = ("--root", "target", "--bucket", "new-bucket", "--endpoint-url", s3.url)
    restore = ("server-restore", str(saved), *target)
    for mode in ("--dry-run", "--yes"):
        message, hint = mlctl.error(3, *restore, mode)
        assert "has no bucket 'new-bucket'" in message
        assert "--create-bucket" in hint
    assert mlctl.json(*restore, "--dry-run", "--create-bucket")["runs"] == 1
    assert "new-bucket" not in [bucket["Name"] for bucket in s3.client().list_buckets()["Buckets"]]
    mlctl(*restore, "--create-bucket", "--yes")
    assert s3.client().get_object(Bucket="new-bucket", Key="note.txt")["Body"].read() == b"a note"
    assert "is not empty" in mlctl.fails(4, *restore, "--dry-run")
