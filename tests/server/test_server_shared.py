"""A shared server: PostgreSQL, S3, TLS, users, and no secret anywhere it can be read."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.server.security_utils import get_default_allowed_hosts, is_allowed_host_header

from mlctl.adapters.tracking.errors import asking
from mlctl.domain.server import Access, TrackingServer
from mlctl.errors import ConfigurationError
from mlctl.output.views import document
from mlctl.services.server.auth import allowed_hosts
from tests.parts import eventually
from tests.parts.command_line import CommandLine
from tests.parts.postgres import PASSWORD, Postgres
from tests.parts.s3 import S3, SECRET

ADMIN = "admin-Secret-4713"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def everything_readable(mlctl: CommandLine, pid: int) -> str:
    """Return all that another program of this machine could read about a server."""
    seen = []
    whole = psutil.Process(pid)
    for one in [whole, *whole.children(recursive=True)]:
        seen += one.cmdline()
        seen += [f"{name}={value}" for name, value in one.environ().items()]
    seen += [file.read_text(errors="replace") for file in mlctl.state.rglob("*") if file.is_file()]
    return "\n".join(seen)


@pytest.mark.needs("postgres")
@pytest.mark.needs("s3")
def test_a_team_server(
    mlctl: CommandLine, postgres: Postgres, s3: S3, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """One server with everything; it costs five seconds to start, so all that it must do is asked of it."""
    cert, key = certificate
    bucket, database = s3.new_bucket(), postgres.new_database()
    (tmp_path / "admin").write_text(ADMIN)
    mlctl.environment = {
        **s3.environment,
        "PGPASSWORD": PASSWORD,
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    up = mlctl.json(
        "server-up", "--port", "0", "--workers", "2", "--supervise",
        "--backend", postgres.uri(database), "--bucket", bucket, "--prefix", "team", "--endpoint-url", s3.url,
        "--auth", "--admin-password-file", str(tmp_path / "admin"),
        "--tls-cert", str(cert), "--tls-key", str(key),
        "--allowed-hosts", "mlflow.example.com", "--cors-origins", "https://example.com",
    )  # fmt: skip
    assert up["url"].startswith("https://127.0.0.1:")
    assert "admin_password" not in up
    trusted = ssl.create_default_context(cafile=cert)

    def asked(path: str, user: str | None = None, body: bytes | None = None, **headers: str) -> int:
        request = urllib.request.Request(up["url"] + path, body, headers)
        if user:
            request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
        try:
            return int(urllib.request.urlopen(request, context=trusted).status)
        except urllib.error.HTTPError as error:
            return error.code

    assert [asked(path) for path in ("/health", "/ready")] == [200, 200]
    some = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert [asked(path) for path in ("/", some, "/mlctl/status", "/ajax-api/2.0/mlflow/experiments/get")] == [
        401
    ] * 4
    assert asked(some, "admin:wrong-password") == 401
    assert asked(some, f"admin:{ADMIN}") == 200
    assert asked(some, f"admin:{ADMIN}", Host="mlflow.example.com:443") == 200
    assert asked(some, f"admin:{ADMIN}", Host="evil.example.com") == 403
    search, body = "/api/2.0/mlflow/experiments/search", b'{"max_results": 1}'
    json_body = {"Content-Type": "application/json"}
    assert asked(search, f"admin:{ADMIN}", body, Origin="https://example.com", **json_body) == 200
    assert asked(search, f"admin:{ADMIN}", body, Origin="https://evil.example.com", **json_body) == 403

    assert "does not take" in mlctl.fails(
        5, "login", up["url"], "--ca-cert", str(cert), "--password-file", "-", given="wrong\n"
    )
    assert "cannot be trusted" in mlctl.fails(5, "login", up["url"], "--password-file", "-", given=ADMIN)
    kept = Path(
        mlctl.json("login", up["url"], "--ca-cert", str(cert), "--password-file", "-", given=ADMIN)["file"]
    )
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert mlctl.json("server-status")["runs"] == 0  # the route is guarded; what was kept opens it

    script = (
        "import sys, mlflow\nfrom mlctl import credentials\n"
        f"credentials.use({up['url']!r}); mlflow.set_tracking_uri({up['url']!r})\n"
        "with mlflow.start_run() as run: mlflow.log_metric('m', 1); mlflow.log_text('kept', 'a/note.txt')\n"
        "print(mlflow.artifacts.load_text(run.info.artifact_uri + '/a/note.txt'))"
    )
    quiet = {k: v for k, v in mlctl.whole_environment().items() if not k.startswith("AWS")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=quiet, capture_output=True, text=True, timeout=60
    )
    assert "kept" in done.stdout, done.stderr
    stored = s3.client().list_objects_v2(Bucket=bucket, Prefix="team/")["Contents"]
    assert [one["Key"].rpartition("/")[2] for one in stored] == ["note.txt"]

    readable = everything_readable(mlctl, up["pid"])
    for secret in (PASSWORD, SECRET, ADMIN):
        assert secret not in readable
    assert "mlctl.tracking_server" in readable

    postgres.stop()
    eventually(lambda: asked("/ready") == 503, 20)
    assert asked("/health") == 200
    assert mlctl.json("server-status")["status"] == "not ready"
    postgres.start()
    eventually(lambda: asked("/ready") == 200, 20)
    assert mlctl.json("server-status")["runs"] == 1
    assert mlctl.json("server-down")["how"] == "gracefully"
    again = mlctl(
        "server-up",
        "--port",
        "0",
        "--workers",
        "1",
        "--backend",
        postgres.uri(database),
        "--auth",
        "-o",
        "json",
    )
    assert "admin_password" not in json.loads(again.stdout)  # there is an administrator already


@pytest.mark.needs("s3")
def test_artifacts_straight_to_the_bucket(
    mlctl: CommandLine, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlctl.environment = s3.environment
    up = mlctl.json(
        "server-up", "--port", "0", "--workers", "1", "--bucket", "made-here", "--create-bucket",
        "--endpoint-url", s3.url, "--direct-artifacts",
    )  # fmt: skip
    from mlflow import MlflowClient

    run = MlflowClient(up["url"]).create_run("0")
    assert run.info.artifact_uri.startswith("s3://made-here/0/")


def test_a_password_is_generated_and_shown_once(mlctl: CommandLine) -> None:
    done = mlctl("server-up", "--port", "0", "--workers", "1", "--auth", "--print-env")
    url = done.stdout.removeprefix("export MLFLOW_TRACKING_URI=").strip()  # stdout is eval's
    password = done.stderr.partition("password ")[2].partition(" ")[0]
    assert len(password) >= 20
    assert mlctl.json("login", url, "--password-file", "-", given=password)["username"] == "admin"
    status = mlctl.json("server-status")
    assert password not in everything_readable(mlctl, status["pid"])
    assert password not in str(status)
    mlctl("server-down")
    (mlctl.cwd / "later").write_text("another-Secret-4713")
    up = ("server-up", "--port", "0", "--workers", "1", "--auth", "--admin-password-file", "later")
    done = mlctl(*up, "--host", "0.0.0.0", "-o", "json")
    assert "--admin-password-file is not used" in done.stderr
    assert_it_answers_to_the_name_that_it_prints(mlctl, json.loads(done.stdout)["url"], password)


def assert_it_answers_to_the_name_that_it_prints(mlctl: CommandLine, url: str, password: str) -> None:
    named = urlsplit(url)
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    secret = base64.b64encode(f"admin:{password}".encode()).decode()
    headers = {"Host": named.netloc, "Authorization": f"Basic {secret}"}
    request = urllib.request.Request(f"http://127.0.0.1:{named.port}{path}", headers=headers)
    assert urllib.request.urlopen(request).status == 200
    if sys.platform != "linux":
        return  # which alone has all of 127/8
    given = ("--password-file", "-")
    other = f"http://127.0.0.2:{named.port}"  # it listens there, too, and was not told of it
    assert "does not answer to the name 127.0.0.2" in mlctl.fails(5, "login", other, *given, given=password)


def test_names_that_a_server_answers_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Workstation")

    def answers(host: str, access: Access) -> bool:
        return is_allowed_host_header(allowed_hosts(access).split(","), host)

    everywhere = Access(host="0.0.0.0")
    assert set(get_default_allowed_hosts()) <= set(allowed_hosts(everywhere).split(","))
    for host in ("Workstation:5000", "workstation:5000", "[::1]:5000", "10.1.2.3:5000", "localhost"):
        assert answers(host, everywhere), host
    assert not answers("evil.example.com:5000", everywhere)
    assert not answers("Workstation:5000", Access())
    assert answers("[2001:db8::7]:5000", Access(host="2001:db8::7"))
    told = Access(host="0.0.0.0", allowed_hosts=("mlflow.example.com", "2001:db8::8"))
    for host in (
        "mlflow.example.com",
        "mlflow.example.com:443",
        "[2001:db8::8]:80",
        "[::1]:5000",
        "workstation:1",
    ):
        assert answers(host, told), host
    for host in ("10.1.2.3:5000", "::5000", "evil.example.com"):
        assert not answers(host, told), host


def test_a_name_that_is_not_allowed_is_no_wrong_password() -> None:
    said = "failed with error code 403 != 200. Response body: 'Invalid Host header - possible DNS rebinding'"
    failure = MlflowException(said, error_code=PERMISSION_DENIED)
    refusal = pytest.raises(ConfigurationError, match="does not answer to this name")
    with refusal as refused, asking("http://workstation:5000"):
        raise failure
    assert "--allowed-hosts workstation" in refused.value.hint


def test_no_password_is_generated_for_a_log(mlctl: CommandLine) -> None:
    """In the foreground: what it shows a container keeps."""
    up = ("server-up", "--port", "0", "--workers", "1", "--auth", "--foreground")
    assert "there is no administrator yet" in mlctl.fails(4, *up)
    assert mlctl.notes() == []


def test_a_generated_password_is_in_the_answer() -> None:
    server = TrackingServer(
        "main", "http://x", 1, "log", "up", "sqlite:///x", None, "x", admin_password="new"
    )
    assert document(server)["admin_password"] == "new"
    assert "admin_password" not in document(replace(server, admin_password=None))
