"""Into what a backup is restored, and into what it is not: all is checked before anything is changed."""

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
from mlctl.services.server.backup import backup
from mlctl.services.server.restore import restore
from mlctl.services.server.server_location import locate
from tests.parts.postgres import PASSWORD, Postgres
from tests.parts.s3 import S3

NewStore = Callable[[Path], str]


@pytest.fixture
def saved(tmp_path: Path, new_store: NewStore) -> Path:
    """A backup of one run, and one artifact."""
    source = tmp_path / "source"
    MlflowClient(new_store(source)).create_run("0", run_name="saved")
    (source / "mlartifacts").mkdir()
    (source / "mlartifacts" / "note.txt").write_text("a note")
    backup(locate(source), tmp_path / "saved.tar", with_artifacts=True)
    return tmp_path / "saved.tar"


def runs(place: ServerLocation) -> list[str]:
    with dump.engine_of(place.backend) as engine, engine.connect() as connection:
        return [row[0] for row in connection.execute(sqlalchemy.text("SELECT name FROM runs"))]


def refused(place: ServerLocation, file: Path) -> MlctlError:
    """Return why a restore was refused; it has put nothing anywhere."""
    with pytest.raises(RefusedError) as caught:
        restore(place, file)
    assert not [one for one in place.folder.rglob("*") if one.is_file()]
    return caught.value


@pytest.mark.parametrize("made", ["an experiment", "a trace", "a name for the first experiment"])
def test_a_store_with_anything_in_it_is_not_emptied(
    made: str, tmp_path: Path, saved: Path, new_store: NewStore
) -> None:
    client = MlflowClient(new_store(tmp_path / "target"))
    if made == "a trace":
        with contextlib.closing(sqlite3.connect(tmp_path / "target" / "mlflow.db")) as connection:
            connection.execute(
                "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES ('tr-1', 0, 1, 'OK')"
            )
            connection.commit()
    elif made == "an experiment":
        client.create_experiment("mine")
    else:
        client.rename_experiment("0", "mine")
    before = (tmp_path / "target" / "mlflow.db").read_bytes()
    assert "is not empty: it has " in refused(locate(tmp_path / "target"), saved).message
    assert (tmp_path / "target" / "mlflow.db").read_bytes() == before


def test_an_empty_store_takes_it(tmp_path: Path, saved: Path, new_store: NewStore) -> None:
    """What migrations and a server that is up put into a store is not somebody's."""
    new_store(tmp_path / "target")
    with contextlib.closing(sqlite3.connect(tmp_path / "target" / "mlflow.db")) as connection:
        connection.execute("INSERT INTO scheduler_leases VALUES ('some', 1, 1)")
        connection.commit()
    place = locate(tmp_path / "target")
    restore(place, saved)
    assert runs(place) == ["saved"]
    assert (place.folder / "note.txt").read_text() == "a note"


@pytest.mark.needs("postgres")
def test_another_programs_table_is_not_touched(
    tmp_path: Path, saved: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither restored over, nor taken into a backup."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    place = locate(tmp_path / "target", backend=postgres.uri(postgres.new_database()))
    with dump.engine_of(place.backend) as engine, engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE customers (name text)"))
        connection.execute(sqlalchemy.text("INSERT INTO customers VALUES ('Ada'), ('Grace')"))
    restore(place, saved)
    with dump.engine_of(place.backend) as engine, engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM customers")).scalar() == 2
    backup(place, tmp_path / "again.tar", with_artifacts=True)
    with tarfile.open(tmp_path / "again.tar") as tar:
        assert not [name for name in tar.getnames() if "customers" in name]
    assert runs(place) == ["saved"]


def test_a_backup_of_an_older_schema_wants_a_database_without_tables(
    tmp_path: Path, new_store: NewStore
) -> None:
    older = schema.revisions()[schema.newest_revision()]
    assert older
    source, current, new = (locate(tmp_path / name) for name in ("source", "current", "new"))
    dump.create_schema(source.backend, {"alembic_version": older})
    backup(source, tmp_path / "older.tar", with_artifacts=True)
    new_store(current.root)
    error = refused(current, tmp_path / "older.tar")
    assert f"the backup's schema ({older}) is not that of" in error.message
    assert "--upgrade-db" in error.hint
    restore(new, tmp_path / "older.tar")
    with dump.engine_of(new.backend) as engine, engine.connect() as connection:
        assert dump.revisions(connection) == {"alembic_version": older}


def test_a_restore_that_fails_can_be_said_again(
    tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = locate(tmp_path / "target")

    def fails(*_: object) -> None:
        raise RefusedError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(dump, "load", fails)
        assert refused(place, saved).message == "the disk is full"
    restore(place, saved)
    assert runs(place) == ["saved"]


def test_what_is_not_in_a_backup_is_said(tmp_path: Path, new_store: NewStore) -> None:
    client = MlflowClient(new_store(tmp_path / "source"))
    for name, location in (
        ("away", "s3://other/place"),
        ("theirs", "/no/such/folder"),
        ("ours", "mlflow-artifacts:/3"),
    ):
        client.create_experiment(name, location)
    client.create_registered_model("nothing")
    told = backup(locate(tmp_path / "source"), tmp_path / "saved.tar", with_artifacts=True)
    assert told.elsewhere == ("s3://other/place, of experiment away", "/no/such/folder, of experiment theirs")
    assert told.backend == f"sqlite:///{tmp_path}/source/mlflow.db"


@pytest.mark.needs("s3")
def test_what_clients_wrote_to_the_bucket_themselves_is_named_where_it_is_now(
    tmp_path: Path, new_store: NewStore, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**s3.environment, "MLFLOW_S3_ENDPOINT_URL": s3.url}.items():
        monkeypatch.setenv(name, value)
    old, new = s3.new_bucket(), s3.new_bucket()
    client = MlflowClient(new_store(tmp_path / "source"))
    run = client.create_run(client.create_experiment("direct", f"s3://{old}/team/1")).info
    lookalike = client.create_experiment("lookalike", f"s3://{old}/teams")
    client.log_text(run.run_id, "a note", "note.txt")
    source = locate(tmp_path / "source", bucket=old, prefix="team", endpoint_url=s3.url)
    assert backup(source, tmp_path / "saved.tar", with_artifacts=True).elsewhere == (
        f"s3://{old}/teams, of experiment lookalike",
    )

    into_bucket = locate(tmp_path / "bucket", bucket=new, endpoint_url=s3.url)
    for place, wanted in ((into_bucket, f"s3://{new}"), (locate(tmp_path / "folder"), "mlflow-artifacts:")):
        restore(place, tmp_path / "saved.tar")
        restored = MlflowClient(place.backend.uri)
        assert restored.get_run(run.run_id).info.artifact_uri == f"{wanted}/1/{run.run_id}/artifacts"
        assert restored.get_experiment(run.experiment_id).artifact_location == f"{wanted}/1"
        assert restored.get_experiment(lookalike).artifact_location == f"s3://{old}/teams"
    key = f"1/{run.run_id}/artifacts/note.txt"
    assert s3.client().get_object(Bucket=new, Key=key)["Body"].read() == b"a note"
    assert (tmp_path / "folder" / "mlartifacts" / key).read_text() == "a note"
