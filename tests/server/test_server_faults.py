"""What can be known to be wrong before a server starts: one line, its code, soon, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import psutil
import pytest

from mlctl.adapters.system import daemon
from mlctl.domain.server import Access
from mlctl.errors import RefusedError, UsageError
from mlctl.services.server import preflight
from mlctl.services.server.server_location import locate
from mlctl.services.server.up import _awaited
from mlctl.settings import load, masked
from mlctl.tracking_server.server_config import ServerConfig
from tests.parts import eventually, free_port
from tests.parts.command_line import CommandLine
from tests.parts.postgres import PASSWORD, Postgres
from tests.parts.s3 import S3

SOON_S = 2.5


@pytest.fixture(autouse=True)
def _leaves_nothing(mlctl: CommandLine) -> Iterator[None]:
    """After a fault there is no note, no process, and each answer took little of our own time."""
    yield
    assert mlctl.notes() == []
    assert not [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(mlctl.cwd)]


def test_a_port_in_use_is_refused(mlctl: CommandLine) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is in use" in mlctl.fails(4, "server-up", "--port", str(port))


def test_a_port_is_taken_from_the_preflight_on() -> None:
    """Two sockets may be bound to one port, for as long as neither listens."""
    first = preflight._bound(Access(port=0))
    with contextlib.closing(first), pytest.raises(RefusedError, match="is in use"):
        preflight._bound(Access(port=first.getsockname()[1]))


@pytest.mark.parametrize("supervise", [False, True])
def test_a_port_that_was_taken_meanwhile(mlctl: CommandLine, supervise: bool) -> None:
    log = mlctl.cwd / "log"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        plan = ServerConfig("x", "x", "127.0.0.1", port, "sqlite:///x.db", "x", None, supervise=supervise)
        child = daemon.spawn([sys.executable, "-m", "mlctl.tracking_server"], log, plan.to_json())
        note = {"log": str(log), "url": f"http://127.0.0.1:{port}", "local_url": f"http://127.0.0.1:{port}"}
        eventually(lambda: not child.alive(), 60)
        other.close()
        with pytest.raises(RefusedError, match="was taken meanwhile"):
            _awaited({**note, "instance": "x"}, child, 0)
    assert len(log.read_text().splitlines()) == 1


def test_beyond_this_machine_somebody_must_guard_it(mlctl: CommandLine) -> None:
    assert "everybody" in mlctl.fails(4, "server-up", "--host", "0.0.0.0", "--port", "0")


def test_passwords_in_the_clear_are_warned_of(mlctl: CommandLine) -> None:
    """With a database that cannot be, so that nothing starts."""
    away = ("server-up", "--port", "0", "--auth", "--backend", f"postgresql://m@127.0.0.1:{free_port()}/m")
    warning = "travel unencrypted"
    assert warning in mlctl(*away, "--host", "0.0.0.0", code=6).stderr
    assert warning not in mlctl(*away, code=6).stderr


def test_a_broken_database_file_is_told(mlctl: CommandLine) -> None:
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
    if os.geteuid() == 0:  # who may write everywhere, unless that is taken away
        mlctl.under = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    mlctl.cwd.chmod(0o500)
    try:
        assert "cannot be written" in mlctl.fails(4, "server-up", "--port", "0")
    finally:
        mlctl.cwd.chmod(0o700)


def test_a_root_that_cannot_be_made(mlctl: CommandLine) -> None:
    assert "cannot be created" in mlctl.fails(4, "server-up", "--port", "0", "--root", "/proc/nowhere")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a disk that is always full")
def test_a_full_disk(mlctl: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlctl.domain.server import Backend, ServerLocation

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RefusedError, match="No space left"):
        preflight._writable(ServerLocation(mlctl.cwd, Backend(f"sqlite:///{mlctl.cwd}/mlflow.db")))
    assert list(mlctl.cwd.iterdir()) == []


def test_a_password_in_an_option_is_refused(mlctl: CommandLine) -> None:
    message = mlctl.fails(2, "server-up", "--backend", "postgresql://mlflow:hush@db/mlflow")
    assert "password" in message
    assert "hush" not in message


@pytest.mark.parametrize("key", ["password", "Password", "pass%77ord", "sslpassword", "passfile"])
def test_a_password_in_a_query_is_refused_too(mlctl: CommandLine, key: str) -> None:
    uri = f"postgresql://mlflow@db/mlflow?connect_timeout=3&{key}=hush"
    with pytest.raises(UsageError) as refused:
        locate(mlctl.cwd, backend=uri)
    assert "hush" not in f"{refused.value.message} {refused.value.hint}"
    if key != "passfile":
        assert "hush" not in masked(uri)
        with pytest.raises(UsageError):
            load({"tracking_uri": uri})


def test_a_password_in_the_query_of_a_file_is_kept_apart(mlctl: CommandLine) -> None:
    (mlctl.cwd / "uri").write_text(
        "postgresql://mlflow@db/mlflow?password=a%26+b&sslmode=require&sslrootcert=/a/ca"
    )
    backend = locate(mlctl.cwd, backend_file=str(mlctl.cwd / "uri")).backend
    assert (backend.password, backend.shown) == (
        "a& b", "postgresql://mlflow@db/mlflow?sslmode=require&sslrootcert=/a/ca",
    )  # fmt: skip
    (mlctl.cwd / "uri").write_text("postgresql://mlflow@db/mlflow?sslpassword=hush")
    with pytest.raises(UsageError, match="sslpassword"):
        locate(mlctl.cwd, backend_file=str(mlctl.cwd / "uri"))


def test_what_holds_no_password_is_shown_as_it_is() -> None:
    for uri in ("postgresql://u@db/m?sslmode=require", "sqlite:///a?b", "https://h/p?password_hint=x"):
        assert masked(uri) == uri
    assert masked("postgresql://u:p@db/m?password=q&a=b") == "postgresql://u:***@db/m?password=***&a=b"


def test_a_database_that_is_away(mlctl: CommandLine) -> None:
    uri = f"postgresql://mlflow@127.0.0.1:{free_port()}/mlflow"
    assert "no database answers" in mlctl.fails(6, "server-up", "--port", "0", "--backend", uri)


def test_a_silent_database_is_given_up(mlctl: CommandLine) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"postgresql://mlflow@127.0.0.1:{silent.getsockname()[1]}/mlflow"
        started = time.monotonic()
        assert "no database answers" in mlctl.fails(6, "server-up", "--port", "0", "--backend", uri)
        assert time.monotonic() - started < 4 * SOON_S  # no retries: the machine may be busy


@pytest.mark.needs("postgres")
def test_a_wrong_password_and_a_missing_database(mlctl: CommandLine, postgres: Postgres) -> None:
    up = ("server-up", "--port", "0", "--backend")
    assert "refuses the database's user" in mlctl.fails(
        5, *up, postgres.uri("postgres"), more={"PGPASSWORD": "wrong"}
    )
    message = mlctl.fails(3, *up, postgres.uri("nowhere"), more={"PGPASSWORD": PASSWORD})
    assert 'database "nowhere" does not exist' in message


@pytest.mark.needs("s3")
def test_buckets_and_keys(mlctl: CommandLine, s3: S3) -> None:
    up = ("server-up", "--port", "0", "--endpoint-url", s3.url, "--bucket")
    mlctl.environment = s3.environment
    assert "has no bucket 'missing'" in mlctl.fails(3, *up, "missing")
    bucket = s3.new_bucket()
    wrong = {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    assert "refuses the credentials" in mlctl.fails(5, *up, bucket, more=wrong)
    assert "cannot be a bucket's name" in mlctl.fails(2, *up, "Not A Bucket!")
    mlctl.environment = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(mlctl.cwd)}
    assert "no credentials" in mlctl.fails(5, *up, bucket)


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (
            403,
            "<Error><Code>RequestTimeTooSkewed</Code><Message>skewed</Message></Error>",
            5,
            "clock is wrong",
        ),
        (403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>", 4, "may not list"),
        (301, "<Error><Code>PermanentRedirect</Code><Region>eu-west-1</Region></Error>", 5, "not in region"),
        (200, "<html>welcome</html>", 6, "does not give back"),
        (503, "busy", 6, "failed to list"),
    ],
)
def test_services_that_answer_otherwise(
    mlctl: CommandLine, status: int, body: str, code: int, said: str
) -> None:
    class Odd(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    service = HTTPServer(("127.0.0.1", 0), Odd)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    mlctl.environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    url = f"http://127.0.0.1:{service.server_port}"
    try:
        assert said in mlctl.fails(
            code, "server-up", "--port", "0", "--endpoint-url", url, "--bucket", "models"
        )
    finally:
        service.shutdown()
        service.server_close()


def test_an_s3_endpoint_that_is_away(mlctl: CommandLine) -> None:
    mlctl.environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    url = f"http://127.0.0.1:{free_port()}"
    message = mlctl.fails(6, "server-up", "--port", "0", "--endpoint-url", url, "--bucket", "models")
    assert "does not answer as S3 does" in message


def test_an_older_schema_is_migrated_with_what_it_holds(mlctl: CommandLine) -> None:
    """As an init container does it: the schema, and no server."""
    from mlctl.adapters.database import connection as database
    from mlctl.adapters.database import dump, schema
    from mlctl.domain.server import Backend

    backend = Backend(f"sqlite:///{mlctl.cwd}/mlflow.db")
    older = schema.revisions()[schema.newest_revision()]
    assert older
    dump.create_schema(backend, {"alembic_version": older})
    with database.opened(backend) as connection:
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'old', 'active')"
        )
        connection.commit()
    assert "older than this MLflow's" in mlctl.fails(4, "server-up", "--port", "0")
    assert mlctl.json("server-up", "--migrate-only")["revision"] == schema.newest_revision()
    with database.opened(backend) as connection:
        assert ("old",) in database.select(connection, "SELECT name FROM experiments")
