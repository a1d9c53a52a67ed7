"""MySQL as the database of a server, with a real MariaDB."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Metric

from mlctl import settings
from mlctl.adapters.database import connection, dump
from mlctl.domain.server import Backend
from mlctl.errors import (
    ConfigurationError,
    MlctlError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from mlctl.services.server import adopt_artifacts
from mlctl.services.server.backup import write_backup
from mlctl.services.server.gc import collect_garbage
from mlctl.services.server.import_store import import_store
from mlctl.services.server.restore import restore_backup
from mlctl.services.server.server_location import build_location, location_to_state
from tests.parts import free_port
from tests.parts.command_line import CommandLine
from tests.parts.mariadb import PASSWORD, MariaDb, running

NewStore = Callable[[Path], str]
needs_mariadb = pytest.mark.needs("mariadb")


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    with running() as server:
        yield server


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_PWD", PASSWORD)


def content(backend: Backend) -> dict[str, list[bytes]]:
    """Return the rows of all tables."""
    with dump.snapshot(backend) as rows:
        return {table.name: list(dump.dump_rows(rows, table)) for table in dump.reflect_tables(rows)}


@needs_mariadb
@pytest.mark.live
def test_a_server_with_users_on_mariadb(mlctl: CommandLine, mariadb: MariaDb) -> None:
    """Runs, models and artifacts; a second server on the same tables; status, backup, and no password anywhere."""
    pytest.importorskip("flask_wtf")
    mlctl.zygote = None  # `ps` shows the server's own command line and environment
    database, port = mariadb.new_database(), free_port()
    (mlctl.cwd / "uri").write_text(
        f"mariadb://mlflow:{quote(PASSWORD, safe='')}@127.0.0.1:{mariadb.port}/{database}\n"
    )
    (mlctl.cwd / "admin").write_text("a long password\n")
    storage = ("--backend-file", "uri", "--workers", "1")
    users = ("--auth", "--admin-password-file", "admin")
    up = mlctl.json("server-up", *storage, *users, "--port", str(port))
    assert up["backend"] == f"mysql://mlflow@127.0.0.1:{mariadb.port}/{database}"
    second = mlctl.json("server-up", *storage, "--auth", "--name", "second", "--port", str(free_port()))

    login = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "a long password"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in login.items():
            patch.setenv(name, value)
        client = MlflowClient(up["url"])
        run = client.create_run("0", run_name="ünï 😀").info
        client.log_batch(run.run_id, [Metric("loss", float("inf"), 1, 1), Metric("loss", 0.25, 2, 2)])
        client.log_text(run.run_id, "a note", "note.txt")
        client.create_registered_model("Fraud")
        client.create_model_version("Fraud", f"runs:/{run.run_id}/model", run.run_id)
        client.set_registered_model_alias("Fraud", "production", "1")
        found = MlflowClient(second["url"]).search_runs(["0"], "metrics.loss < 0.3")
        assert [(item.info.run_name, item.data.metrics) for item in found] == [("ünï 😀", {"loss": 0.25})]
    status = mlctl.json("server-status", env=login)
    assert [status[name] for name in ("status", "runs", "experiments", "models")] == ["up", 1, 1, 1]
    listed = mlctl.json("runs", "list", env={"MLFLOW_TRACKING_URI": up["url"], **login})
    assert [item["run_name"] for item in listed] == ["ünï 😀"]

    backup = mlctl.json("server-backup", "all.tar", "--backend-file", "uri")
    assert (backup["runs"], backup["models"], backup["artifacts"]) == (1, 1, 1)
    shown = [*mlctl.state.rglob("*.json"), *mlctl.state.rglob("*.log"), *mlctl.state.rglob("*.ini")]
    texts = [file.read_text() for file in shown]
    texts.append(subprocess.run(["ps", "axeww"], check=True, capture_output=True, text=True).stdout)
    assert len(texts) >= 5
    assert not [text for text in texts if PASSWORD in text or quote(PASSWORD, safe="") in text]


@needs_mariadb
@pytest.mark.usefixtures("password")
def test_a_backup_goes_from_sqlite_to_mariadb_and_back(
    tmp_path: Path, mariadb: MariaDb, new_store: NewStore
) -> None:
    """Also the experiment 0, whose key MySQL would replace, and deleted runs, which server-gc then removes."""
    source = build_location(tmp_path / "source")
    client = MlflowClient(new_store(source.root))
    kept, deleted = (client.create_run("0", run_name=name).info.run_id for name in ("kept", "deleted"))
    client.log_param(kept, "key", "a%s'value\"")
    client.log_batch(
        kept, [Metric("loss", value, 1, step) for step, value in enumerate((float("nan"), -0.5))]
    )
    client.delete_run(deleted)
    (source.folder / "0").mkdir(parents=True)
    (source.folder / "0" / "note.txt").write_text("a note")
    middle = build_location(tmp_path / "middle", backend=mariadb.uri(mariadb.new_database()))
    back = build_location(tmp_path / "back")
    write_backup(source, tmp_path / "one.tar", with_artifacts=True)
    restore_backup(middle, tmp_path / "one.tar")
    write_backup(middle, tmp_path / "two.tar", with_artifacts=True)
    restore_backup(back, tmp_path / "two.tar")
    assert content(back.backend) == content(source.backend)

    report = collect_garbage(middle, delete=True)
    assert (report.runs, report.done) == ((deleted,), True)
    with dump.open_engine(middle.backend) as engine, engine.connect() as rows:
        found = rows.execute(sqlalchemy.text("SELECT experiment_id, name FROM runs")).all()
    assert [tuple(row) for row in found] == [(0, "kept")]


@needs_mariadb
@pytest.mark.usefixtures("password")
def test_an_import_into_mariadb_and_from_it(tmp_path: Path, mariadb: MariaDb, new_store: NewStore) -> None:
    client = MlflowClient(new_store(tmp_path / "source"))
    experiment = client.create_experiment("fraud", f"{tmp_path}/artifacts", {"team": "risk"})
    for number in range(3):
        run_id = client.create_run(experiment, run_name=f"r{number}").info.run_id
        client.log_param(run_id, "rate", number)
        client.log_batch(run_id, [Metric("loss", 1 / (step + 1), step, step) for step in range(50)])
        client.set_tag(run_id, "key", "value")
    client.create_registered_model("Fraud", {"owner": "ada"})
    client.create_model_version("Fraud", f"runs:/{run_id}/model", run_id)
    client.set_registered_model_alias("Fraud", "champion", "1")
    middle = settings.with_installed_driver(mariadb.uri(mariadb.new_database()))
    first = import_store(f"{tmp_path}/source/mlflow.db", middle)
    assert (first.runs, first.points, first.registered_models, first.versions) == (3, 150, 1, 1)
    again = import_store(f"{tmp_path}/source/mlflow.db", middle)
    assert (again.runs, again.present, again.versions) == (0, 3, 0)
    target = new_store(tmp_path / "target")
    assert import_store(middle, target).points == 150
    copies = MlflowClient(target).search_runs(["1"], order_by=["attributes.run_name ASC"])
    assert [(run.info.run_name, run.data.params, run.data.tags["key"]) for run in copies] == [
        (f"r{number}", {"rate": str(number)}, "value") for number in range(3)
    ]
    assert len(MlflowClient(target).get_metric_history(run_id, "loss")) == 50
    assert MlflowClient(target).get_model_version_by_alias("Fraud", "champion").run_id == run_id


@needs_mariadb
@pytest.mark.usefixtures("password")
def test_artifacts_of_local_clients_are_adopted(tmp_path: Path, mariadb: MariaDb) -> None:
    """The statement that changes their addresses joins texts, which MySQL writes in another way."""
    location = build_location(tmp_path / "server", backend=mariadb.uri(mariadb.new_database()))
    client = MlflowClient(location.backend.uri)
    experiment = client.create_experiment("mine", f"{tmp_path}/mine")
    run_id = client.create_run(experiment).info.run_id
    client.log_text(run_id, "a note", "note.txt")
    adopt_artifacts.adopt(location, adopt_artifacts.plan_adoption(location))
    assert client.get_run(run_id).info.artifact_uri == f"mlflow-artifacts:/{experiment}/{run_id}/artifacts"


@needs_mariadb
@pytest.mark.live
@pytest.mark.usefixtures("password")
def test_the_commands_use_the_database_itself(mlctl: CommandLine, mariadb: MariaDb) -> None:
    uri = mariadb.uri(mariadb.new_database())
    run_id = MlflowClient(settings.with_installed_driver(uri)).create_run("0", run_name="direct").info.run_id
    environment = {"MLFLOW_TRACKING_URI": uri, "MYSQL_PWD": PASSWORD}
    listed = mlctl.json("runs", "list", env=environment)
    assert [item["run_id"] for item in listed] == [run_id]
    assert "does not answer" in mlctl.fails(
        6, "runs", "list", env={"MLFLOW_TRACKING_URI": "mysql://u@127.0.0.1:9/x"}
    )
    wrong = {"MLFLOW_TRACKING_URI": uri, "MYSQL_PWD": "wrong"}
    assert "Access denied" in mlctl.fails(5, "runs", "list", env=wrong)


@needs_mariadb
def test_what_is_wrong_with_the_database(
    tmp_path: Path, mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(uri: str) -> None:
        connection.check_database(build_location(tmp_path, backend=uri).backend, upgrade=False)

    monkeypatch.setenv("MYSQL_PWD", "wrong")
    with pytest.raises(ConfigurationError, match="refuses the database's user: Access denied"):
        check(mariadb.uri("x"))
    monkeypatch.setenv("MYSQL_PWD", PASSWORD)
    with pytest.raises(NotFoundError, match="Unknown database 'nowhere'"):
        check(mariadb.uri("nowhere"))
    with pytest.raises(RefusedError, match="stores texts as latin1"):
        check(mariadb.uri(mariadb.new_database("latin1")))
    with pytest.raises(UnreachableError, match="no database answers"):
        check(f"mysql://mlflow@127.0.0.1:{free_port()}/x")


@pytest.mark.unit
def test_a_uri_of_mysql(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--backend holds a password") as caught:
        build_location(tmp_path, backend="mysql://ada:secret@db/mlflow")
    assert "MYSQL_PWD" in str(caught.value.hint)
    file = tmp_path / "uri"
    file.write_text("mariadb://ada:s%2Fecret@db/mlflow?charset=utf8mb4\n")
    location = build_location(tmp_path, backend_file=str(file))
    assert location.backend == Backend("mysql+pymysql://ada@db/mlflow?charset=utf8mb4", "s/ecret")
    assert (location.backend.host, location.backend.is_mysql) == ("db:3306", True)
    assert "ecret" not in str(location_to_state(location)) + repr(location)


@pytest.mark.unit
def test_the_driver_of_mysql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda _name: None)
    assert settings.with_installed_driver("mysql://u@h/db") == "mysql+pymysql://u@h/db"
    assert settings.with_installed_driver("mariadb://u@h/db") == "mysql+pymysql://u@h/db"
    monkeypatch.setattr(settings, "find_spec", lambda _name: find_spec("json"))
    assert settings.with_installed_driver("mysql://u@h/db") == "mysql://u@h/db"
    monkeypatch.setattr("mlctl.adapters.system.extras.find_spec", lambda _name: None)
    backend = build_location(tmp_path, backend="mysql://u@127.0.0.1/db").backend
    with pytest.raises(ConfigurationError, match="MySQL needs pymysql, which is not installed") as caught:
        connection.check_database(backend, upgrade=False)
    assert "PyMySQL" in str(caught.value.hint)


@pytest.mark.unit
def test_every_connection_uses_the_password_and_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pymysql = pytest.importorskip("pymysql")
    options: list[dict[str, object]] = []

    def connect(**values: object) -> None:
        options.append(values)
        raise pymysql.OperationalError(2003, "no answer")

    monkeypatch.setattr(pymysql, "connect", connect)
    monkeypatch.setenv("MYSQL_PWD", PASSWORD)
    monkeypatch.setenv("MLFLOW_MYSQL_SSL_CA", "ca.pem")
    backend = build_location(tmp_path, backend="mysql://u@db/mlflow").backend
    with pytest.raises(UnreachableError):
        connection.check_database(backend, upgrade=False)
    with pytest.raises(MlctlError), dump.open_engine(backend) as engine:
        engine.connect()
    assert [(item["password"], item["ssl_ca"]) for item in options] == [(PASSWORD, "ca.pem")] * 2
