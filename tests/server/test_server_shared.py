"""A shared server: PostgreSQL, S3, TLS, users, and no secret that another program can read."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.server.security_utils import get_default_allowed_hosts, is_allowed_host_header

from mlctl.adapters.tracking.errors import translate_errors
from mlctl.domain.server import ServerAccess, TrackingServer
from mlctl.errors import ConfigurationError
from mlctl.output.views import document
from mlctl.services.server.auth import allowed_hosts
from tests.parts import eventually
from tests.parts.command_line import CommandLine
from tests.parts.postgres import PASSWORD, Postgres
from tests.parts.s3 import S3, SECRET

pytestmark = pytest.mark.live

ADMIN = "admin-Secret-4713"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-keyout", key, "-out", cert),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def readable_text(mlctl: CommandLine, pid: int) -> str:
    """Return everything that another program of this machine could read about a server."""
    texts = []
    server = psutil.Process(pid)
    for process in [server, *server.children(recursive=True)]:
        texts += process.cmdline()
        texts += [f"{name}={value}" for name, value in process.environ().items()]
    texts += [file.read_text(errors="replace") for file in mlctl.state.rglob("*") if file.is_file()]
    return "\n".join(texts)


@pytest.mark.needs("postgres")
@pytest.mark.needs("s3")
def test_a_team_server(
    mlctl: CommandLine, postgres: Postgres, s3: S3, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """One server with every option. Its start takes five seconds, so this test checks everything about it."""
    cert, key = certificate
    mlctl.zygote = None  # readable_text reads the server's own command line and environment
    bucket, database = s3.new_bucket(), postgres.new_database()
    (tmp_path / "admin").write_text(ADMIN)
    mlctl.environment = {
        **s3.environment,
        "PGPASSWORD": PASSWORD,
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    up = mlctl.json(
        *("server-up", "--port", "0", "--workers", "2", "--supervise"),
        *("--backend", postgres.uri(database)),
        *("--bucket", bucket, "--prefix", "team", "--endpoint-url", s3.url),
        *("--auth", "--admin-password-file", str(tmp_path / "admin")),
        *("--tls-cert", str(cert), "--tls-key", str(key)),
        *("--allowed-host", "mlflow.example.com", "--cors-origins", "https://example.com"),
        *("--default-permission", "none"),
    )
    assert up["url"].startswith("https://127.0.0.1:")
    assert "admin_password" not in up
    trusted = ssl.create_default_context(cafile=cert)

    def status_of(path: str, user: str | None = None, body: bytes | None = None, **headers: str) -> int:
        request = urllib.request.Request(up["url"] + path, body, headers)
        if user:
            request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
        try:
            return int(urllib.request.urlopen(request, context=trusted).status)
        except urllib.error.HTTPError as error:
            return error.code

    assert [status_of(path) for path in ("/health", "/ready")] == [200, 200]
    experiment = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert [
        status_of(path) for path in ("/", experiment, "/mlctl/status", "/ajax-api/2.0/mlflow/experiments/get")
    ] == [401] * 4
    assert status_of(experiment, "admin:wrong-password") == 401
    assert status_of(experiment, f"admin:{ADMIN}") == 200
    assert status_of(experiment, f"admin:{ADMIN}", Host="mlflow.example.com:443") == 200
    assert status_of(experiment, f"admin:{ADMIN}", Host="evil.example.com") == 403
    search, body = "/api/2.0/mlflow/experiments/search", b'{"max_results": 1}'
    json_body = {"Content-Type": "application/json"}
    assert status_of(search, f"admin:{ADMIN}", body, Origin="https://example.com", **json_body) == 200
    assert status_of(search, f"admin:{ADMIN}", body, Origin="https://evil.example.com", **json_body) == 403

    assert "does not accept" in mlctl.fails(
        5, "login", up["url"], "--ca-cert", str(cert), "--password-file", "-", stdin="wrong\n"
    )
    assert "is not trusted" in mlctl.fails(5, "login", up["url"], "--password-file", "-", stdin=ADMIN)
    credentials = Path(
        mlctl.json("login", up["url"], "--ca-cert", str(cert), "--password-file", "-", stdin=ADMIN)["file"]
    )
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert mlctl.json("server-status")["runs"] == 0  # this route asks for the password that login has stored

    script = (
        "import sys, mlflow\nfrom mlctl import credentials\n"
        f"credentials.apply_to_environment({up['url']!r}); mlflow.set_tracking_uri({up['url']!r})\n"
        "with mlflow.start_run() as run: mlflow.log_metric('m', 1); mlflow.log_text('kept', 'a/note.txt')\n"
        "print(mlflow.artifacts.load_text(run.info.artifact_uri + '/a/note.txt'))"
    )
    environment = {k: v for k, v in mlctl.full_environment().items() if not k.startswith("AWS")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert "kept" in done.stdout, done.stderr
    stored = s3.client().list_objects_v2(Bucket=bucket, Prefix="team/")["Contents"]
    assert [item["Key"].rpartition("/")[2] for item in stored] == ["note.txt"]

    readable = readable_text(mlctl, up["pid"])
    for secret in (PASSWORD, SECRET, ADMIN):
        assert secret not in readable
    assert "mlctl.tracking_server" in readable

    def change(method: str, path: str, body: dict[str, Any], user: str = f"admin:{ADMIN}") -> int:
        request = urllib.request.Request(
            f"{up['url']}/api/2.0/mlflow/{path}", json.dumps(body).encode(), json_body, method=method
        )
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
        try:
            return int(urllib.request.urlopen(request, context=trusted).status)
        except urllib.error.HTTPError as error:
            return error.code

    first, second = "ada:first-password-1", "ada:second-password-1"
    assert change("POST", "users/create", {"username": "ada", "password": "first-password-1"}) == 200
    assert change("POST", "registered-models/create", {"name": "Private"}) == 200
    model = "/api/2.0/mlflow/registered-models/get?name=Private"
    assert [status_of(path, first) for path in (experiment, model)] == [403, 403]
    assert {change("POST", "experiments/search", {"max_results": 1}, first) for _ in range(8)} == {200}
    new = {"username": "ada", "password": "second-password-1"}
    assert change("PATCH", "users/update-password", new) == 200
    time.sleep(1)
    assert {change("POST", "experiments/search", {"max_results": 1}, first) for _ in range(8)} == {401}
    assert change("POST", "experiments/search", {"max_results": 1}, second) == 200

    os.kill(s3.pid, signal.SIGSTOP)
    try:
        eventually(lambda: status_of("/ready") == 503, 60)
        assert f"the bucket {bucket} " in mlctl.json("server-status")["trouble"]
    finally:
        os.kill(s3.pid, signal.SIGCONT)
    eventually(lambda: status_of("/ready") == 200, 60)

    postgres.stop()
    eventually(lambda: status_of("/ready") == 503, 60)
    assert status_of("/health") == 200
    assert mlctl.json("server-status")["status"] == "not ready"
    postgres.start()
    eventually(lambda: status_of("/ready") == 200, 60)
    assert mlctl.json("server-status")["runs"] == 1
    assert mlctl.json("server-down")["how"] == "gracefully"
    again = mlctl.json(
        *("server-up", "--port", "0", "--workers", "1", "--auth"),
        *("--backend", postgres.uri(database)),
    )
    assert "admin_password" not in again  # there is an administrator already, so none is generated


@pytest.mark.needs("s3")
@pytest.mark.usefixtures("empty_database")
def test_clients_write_artifacts_directly_to_the_bucket(
    mlctl: CommandLine, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlctl.environment = s3.environment
    up = mlctl.json(
        *("server-up", "--port", "0", "--workers", "1"),
        *("--bucket", "direct-bucket", "--create-bucket", "--endpoint-url", s3.url, "--direct-artifacts"),
    )
    from mlflow import MlflowClient

    run = MlflowClient(up["url"]).create_run("0")
    assert run.info.artifact_uri.startswith("s3://direct-bucket/0/")


@pytest.mark.usefixtures("empty_database")
def test_a_password_is_generated_and_shown_once(mlctl: CommandLine) -> None:
    first = replace(mlctl, zygote=None)  # readable_text reads the server's own command line and environment
    done = first("server-up", "--port", "0", "--workers", "1", "--auth", "--print-env")
    url = done.stdout.removeprefix("export MLFLOW_TRACKING_URI=").strip()  # stdout is for eval
    password = done.stderr.partition("password ")[2].partition(" ")[0]
    assert len(password) >= 20
    assert mlctl.json("login", url, "--password-file", "-", stdin=password)["username"] == "admin"
    status = mlctl.json("server-status")
    assert password not in readable_text(mlctl, status["pid"])
    assert password not in str(status)
    mlctl("server-down")
    (mlctl.cwd / "later").write_text("another-Secret-4713")
    up = ("server-up", "--port", "0", "--workers", "1", "--auth", "--admin-password-file", "later")
    done = mlctl(*up, "--host", "0.0.0.0", "-o", "json")
    assert "--admin-password-file has no effect" in done.stderr
    assert_server_accepts_its_own_name(mlctl, json.loads(done.stdout)["url"], password)


def assert_server_accepts_its_own_name(mlctl: CommandLine, url: str, password: str) -> None:
    named = urlsplit(url)
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    secret = base64.b64encode(f"admin:{password}".encode()).decode()
    headers = {"Host": named.netloc, "Authorization": f"Basic {secret}"}
    request = urllib.request.Request(f"http://127.0.0.1:{named.port}{path}", headers=headers)
    assert urllib.request.urlopen(request).status == 200
    if sys.platform != "linux":
        return  # only Linux has all addresses of 127/8
    other = f"http://127.0.0.2:{named.port}"  # the server listens there too, but does not accept this name
    message = mlctl.fails(5, "login", other, "--password-file", "-", stdin=password)
    assert "does not accept the host name 127.0.0.2" in message


def test_host_names_that_a_server_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Workstation")

    def accepts(host: str, access: ServerAccess) -> bool:
        return is_allowed_host_header(allowed_hosts(access).split(","), host)

    everywhere = ServerAccess(host="0.0.0.0")
    assert set(get_default_allowed_hosts()) <= set(allowed_hosts(everywhere).split(","))
    for host in ("Workstation:5000", "workstation:5000", "[::1]:5000", "10.1.2.3:5000", "localhost"):
        assert accepts(host, everywhere), host
    assert not accepts("evil.example.com:5000", everywhere)
    assert not accepts("Workstation:5000", ServerAccess())
    assert accepts("[2001:db8::7]:5000", ServerAccess(host="2001:db8::7"))
    with_names = ServerAccess(host="0.0.0.0", allowed_hosts=("mlflow.example.com", "2001:db8::8"))
    for host in (
        "mlflow.example.com",
        "mlflow.example.com:443",
        "[2001:db8::8]:80",
        "[::1]:5000",
        "workstation:1",
    ):
        assert accepts(host, with_names), host
    for host in ("10.1.2.3:5000", "::5000", "evil.example.com"):
        assert not accepts(host, with_names), host


def test_a_host_name_that_is_not_allowed_is_not_a_wrong_password() -> None:
    error = MlflowException(
        "failed with error code 403 != 200. Response body: 'Invalid Host header - possible DNS rebinding'",
        error_code=PERMISSION_DENIED,
    )
    with (
        pytest.raises(ConfigurationError, match="does not accept this host name") as caught,
        translate_errors("http://workstation:5000"),
    ):
        raise error
    assert "--allowed-host workstation" in caught.value.hint


def test_no_password_is_generated_in_the_foreground(mlctl: CommandLine) -> None:
    """The log of a container would keep it."""
    up = ("server-up", "--port", "0", "--workers", "1", "--auth", "--foreground")
    assert "there is no administrator yet" in mlctl.fails(4, *up)
    assert mlctl.state_files() == []


def test_a_generated_password_is_in_the_answer() -> None:
    server = TrackingServer(
        name="main",
        url="http://x",
        pid=1,
        log="log",
        status="up",
        backend="sqlite:///x",
        bucket=None,
        artifacts="x",
        admin_password="new",
    )
    assert document(server)["admin_password"] == "new"
    assert "admin_password" not in document(replace(server, admin_password=None))
