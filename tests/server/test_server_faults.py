"""Problems that server-up finds before it starts a server: one error line, an exit code, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import psutil
import pytest

from mlctl.adapters.system import daemon
from mlctl.domain.server import ServerAccess
from mlctl.errors import RefusedError, UsageError
from mlctl.services.server import preflight
from mlctl.services.server.server_location import build_location
from mlctl.services.server.up import _wait_until_ready
from mlctl.settings import load, mask_passwords
from mlctl.tracking_server.server_config import ServerConfig
from tests.parts import eventually, free_port
from tests.parts.command_line import CommandLine
from tests.parts.postgres import PASSWORD, Postgres
from tests.parts.s3 import S3


@pytest.fixture(autouse=True)
def _leaves_nothing(mlctl: CommandLine) -> Iterator[None]:
    """After an error there is no state file and no process."""
    yield
    assert mlctl.state_files() == []
    assert str(mlctl.cwd) not in [process.info["cwd"] for process in psutil.process_iter(["cwd"])]


def test_a_port_in_use_is_refused(mlctl: CommandLine) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is in use" in mlctl.fails(4, "server-up", "--port", str(port))


@pytest.mark.unit
def test_the_preflight_takes_the_port() -> None:
    """Two sockets can be bound to one port as long as neither listens."""
    first = preflight._listen(ServerAccess(port=0))
    with contextlib.closing(first), pytest.raises(RefusedError, match="is in use"):
        preflight._listen(ServerAccess(port=first.getsockname()[1]))


@pytest.mark.parametrize("supervise", [False, True])
def test_a_port_that_another_program_takes_after_the_preflight(mlctl: CommandLine, supervise: bool) -> None:
    log = mlctl.cwd / "log"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = ServerConfig(
            name="x",
            instance="x",
            host="127.0.0.1",
            port=port,
            backend_uri="sqlite:///x.db",
            artifact_root="x",
            artifacts_destination=None,
            supervise=supervise,
        )
        process = daemon.spawn([sys.executable, "-m", "mlctl.tracking_server"], log, stdin=config.to_json())
        state = {"log": str(log), "local_url": f"http://127.0.0.1:{port}", "instance": "x"}
        eventually(lambda: not process.is_alive(), 60)
        other.close()
        with pytest.raises(RefusedError, match="another program has taken the port"):
            _wait_until_ready(state, process, 0)
    assert len(log.read_text().splitlines()) == 1


def test_a_server_that_others_reach_needs_authentication(mlctl: CommandLine) -> None:
    assert "everybody" in mlctl.fails(4, "server-up", "--host", "0.0.0.0", "--port", "0")


def test_unencrypted_passwords_cause_a_warning(mlctl: CommandLine) -> None:
    """The database is unreachable, so that no server starts."""
    server_up = (
        "server-up",
        "--port",
        "0",
        "--auth",
        "--backend",
        f"postgresql://m@127.0.0.1:{free_port()}/m",
    )
    warning = "unencrypted"
    assert warning in mlctl(*server_up, "--host", "0.0.0.0", code=6).stderr
    assert warning not in mlctl(*server_up, code=6).stderr


def test_a_file_that_is_not_a_database_is_refused(mlctl: CommandLine) -> None:
    (mlctl.cwd / "mlflow.db").write_bytes(b"this is not a database, " * 100)
    assert "is not an sqlite database" in mlctl.fails(8, "server-up", "--port", "0")


def test_a_newer_schema_is_refused(mlctl: CommandLine) -> None:
    connection = sqlite3.connect(mlctl.cwd / "mlflow.db")
    connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    connection.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
    connection.commit()
    connection.close()
    assert "newer MLflow" in mlctl.fails(4, "server-up", "--port", "0", "--upgrade-db")


def test_a_root_that_cannot_be_written(mlctl: CommandLine) -> None:
    if os.geteuid() == 0:  # root can write everywhere unless it drops this capability
        mlctl.wrapper = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    mlctl.cwd.chmod(0o500)
    try:
        assert "cannot be written" in mlctl.fails(4, "server-up", "--port", "0")
    finally:
        mlctl.cwd.chmod(0o700)


def test_a_root_that_cannot_be_created(mlctl: CommandLine) -> None:
    assert "cannot be created" in mlctl.fails(4, "server-up", "--port", "0", "--root", "/proc/nowhere")


@pytest.mark.unit
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_a_full_disk(mlctl: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlctl.domain.server import Backend, ServerLocation

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RefusedError, match="No space left"):
        preflight._check_writable(
            ServerLocation(root=mlctl.cwd, backend=Backend(f"sqlite:///{mlctl.cwd}/mlflow.db"))
        )
    assert list(mlctl.cwd.iterdir()) == []


def test_a_password_in_an_option_is_refused(mlctl: CommandLine) -> None:
    message = mlctl.fails(2, "server-up", "--backend", "postgresql://mlflow:hush@db/mlflow")
    assert "password" in message
    assert "hush" not in message


@pytest.mark.unit
@pytest.mark.parametrize("key", ["password", "Password", "pass%77ord", "sslpassword", "passfile"])
def test_a_password_in_a_query_is_refused_too(mlctl: CommandLine, key: str) -> None:
    uri = f"postgresql://mlflow@db/mlflow?connect_timeout=3&{key}=hush"
    with pytest.raises(UsageError) as caught:
        build_location(mlctl.cwd, backend=uri)
    assert "hush" not in f"{caught.value.message} {caught.value.hint}"
    if key != "passfile":
        assert "hush" not in mask_passwords(uri)
        with pytest.raises(UsageError):
            load({"tracking_uri": uri})


@pytest.mark.unit
def test_a_password_in_a_query_of_a_file_is_separated(mlctl: CommandLine) -> None:
    (mlctl.cwd / "uri").write_text(
        "postgresql://mlflow@db/mlflow?password=a%26+b&sslmode=require&sslrootcert=/a/ca"
    )
    backend = build_location(mlctl.cwd, backend_file=str(mlctl.cwd / "uri")).backend
    assert backend.password == "a& b"
    assert backend.display_uri == "postgresql://mlflow@db/mlflow?sslmode=require&sslrootcert=/a/ca"
    (mlctl.cwd / "uri").write_text("postgresql://mlflow@db/mlflow?sslpassword=hush")
    with pytest.raises(UsageError, match="sslpassword"):
        build_location(mlctl.cwd, backend_file=str(mlctl.cwd / "uri"))


@pytest.mark.unit
def test_a_uri_without_password_is_shown_unchanged() -> None:
    for uri in ("postgresql://u@db/m?sslmode=require", "sqlite:///a?b", "https://h/p?password_hint=x"):
        assert mask_passwords(uri) == uri
    assert (
        mask_passwords("postgresql://u:p@db/m?password=q&a=b") == "postgresql://u:***@db/m?password=***&a=b"
    )


def test_an_unreachable_database(mlctl: CommandLine) -> None:
    uri = f"postgresql://mlflow@127.0.0.1:{free_port()}/mlflow"
    assert "no database answers" in mlctl.fails(6, "server-up", "--port", "0", "--backend", uri)


def test_a_database_that_never_answers(mlctl: CommandLine) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"postgresql://mlflow@127.0.0.1:{silent.getsockname()[1]}/mlflow"
        assert "no database answers" in mlctl.fails(6, "server-up", "--port", "0", "--backend", uri)


@pytest.mark.live
@pytest.mark.needs("postgres")
def test_a_wrong_password_and_a_missing_database(mlctl: CommandLine, postgres: Postgres) -> None:
    server_up = ("server-up", "--port", "0", "--backend")
    assert "refuses the database's user" in mlctl.fails(
        5, *server_up, postgres.uri("postgres"), env={"PGPASSWORD": "wrong"}
    )
    message = mlctl.fails(3, *server_up, postgres.uri("nowhere"), env={"PGPASSWORD": PASSWORD})
    assert 'database "nowhere" does not exist' in message


@pytest.mark.live
@pytest.mark.needs("s3")
def test_buckets_and_keys(mlctl: CommandLine, s3: S3) -> None:
    server_up = ("server-up", "--port", "0", "--endpoint-url", s3.url, "--bucket")
    mlctl.environment = s3.environment
    assert "has no bucket 'missing'" in mlctl.fails(3, *server_up, "missing")
    bucket = s3.new_bucket()
    wrong = {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    assert "refuses the credentials" in mlctl.fails(5, *server_up, bucket, env=wrong)
    assert "invalid bucket name 'Not A Bucket!'" in mlctl.fails(2, *server_up, "Not A Bucket!")
    mlctl.environment = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(mlctl.cwd)}
    assert "no credentials" in mlctl.fails(5, *server_up, bucket)


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (
            403,
            "<Error><Code>RequestTimeTooSkewed</Code><Message>skewed</Message></Error>",
            5,
            "clock is wrong",
        ),
        (403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>", 4, "may not list"),
        (301, "<Error><Code>PermanentRedirect</Code><Region>eu-west-1</Region></Error>", 5, "not in region"),
        (200, "<html>welcome</html>", 6, "does not return what was stored"),
        (503, "busy", 6, "failed to list"),
    ],
)
def test_services_that_do_not_answer_as_s3_does(
    mlctl: CommandLine, status: int, body: str, code: int, message: str
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    service = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
    mlctl.environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    url = f"http://127.0.0.1:{service.server_port}"
    try:
        assert message in mlctl.fails(
            code, "server-up", "--port", "0", "--endpoint-url", url, "--bucket", "models"
        )
    finally:
        service.shutdown()
        service.server_close()


def test_an_unreachable_s3_endpoint(mlctl: CommandLine) -> None:
    mlctl.environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    url = f"http://127.0.0.1:{free_port()}"
    message = mlctl.fails(6, "server-up", "--port", "0", "--endpoint-url", url, "--bucket", "models")
    assert "does not answer as S3 does" in message


def test_an_older_schema_is_migrated_and_keeps_its_rows(mlctl: CommandLine) -> None:
    """As in an init container: without starting a server."""
    from mlctl.adapters.database import connection as database
    from mlctl.adapters.database import dump, schema
    from mlctl.domain.server import Backend

    backend = Backend(f"sqlite:///{mlctl.cwd}/mlflow.db")
    older = schema.revisions()[schema.newest_revision()]
    assert older
    dump.create_schema(backend, {"alembic_version": older})
    with database.open_connection(backend) as connection:
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'old', 'active')"
        )
        connection.commit()
    assert "older than this MLflow's" in mlctl.fails(4, "server-up", "--port", "0")
    assert mlctl.json("server-up", "--migrate-only")["revision"] == schema.newest_revision()
    with database.open_connection(backend) as connection:
        assert ("old",) in database.select(connection, "SELECT name FROM experiments")
