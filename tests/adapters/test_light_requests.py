"""The client of the REST API sends what MLflow's client sends, and reports an answer as mlctl reports MLflow's errors."""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlctl.adapters.tracking.clients.rest_client import RestClient
from mlctl.adapters.tracking.errors import translate_errors
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import ConfigurationError, MlctlError, UnreachableError

EMPTY = b'{"experiments": []}'
REFUSAL = b'{"error_code": "%s", "message": "no"}'


class Script:
    """A server with prepared answers, (status, content, headers); the last one is repeated."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes, dict[str, str]]] = [(200, EMPTY, {})]
        self.authorizations: list[str | None] = []
        self.pause = threading.Event()  # a request waits while this is set
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path != "/health":
                    script.authorizations.append(self.headers.get("Authorization"))
                    while script.pause.is_set():
                        script.pause.wait(0.01)
                answers = script.answers
                status, content, headers = answers.pop(0) if len(answers) > 1 else answers[0]
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in {**headers, "Content-Length": str(len(content))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = _handle

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.uri = f"http://{self.address}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Script]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = Script()
    yield found
    found.pause.clear()
    found.server.shutdown()
    found.server.server_close()


ANSWERS = {
    "a page": (200, b"<html>Welcome</html>", {}),
    "no page": (404, b"<html>Not Found</html>", {}),
    "garbage": (200, b'{"experiments": [', {}),
    "a list": (200, b"[]", {}),
    "a number": (200, b"7", {}),
    "another API": (200, b'{"status": "ok"}', {}),
    "unauthenticated": (401, b"who are you?", {"WWW-Authenticate": 'Basic realm="mlflow"'}),
    "unauthenticated in JSON": (401, REFUSAL % b"UNAUTHENTICATED", {}),
    "forbidden": (403, b"Permission denied", {}),
    "forbidden in JSON": (403, REFUSAL % b"PERMISSION_DENIED", {}),
    "not found in JSON": (404, REFUSAL % b"RESOURCE_DOES_NOT_EXIST", {}),
    "invalid in JSON": (400, REFUSAL % b"INVALID_PARAMETER_VALUE", {}),
    "unknown code": (400, REFUSAL % b"SOMETHING_NEW", {}),
    "other JSON": (400, b'{"detail": "no"}', {}),
    "invalid host": (403, b"Invalid Host header - possible DNS rebinding attack detected", {}),
    "broken": (500, b"Internal Server Error", {}),
    "broken in JSON": (500, REFUSAL % b"INTERNAL_ERROR", {}),
    "unavailable": (503, b"", {"Retry-After": "0"}),
    "too many": (429, b"slow down", {"Retry-After": "0"}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_reported_as_with_mlflow(script: Script, name: str) -> None:
    script.answers = [ANSWERS[name]]
    store = TrackingStore(script.uri)
    assert isinstance(store.client, RestClient)
    reports = []
    for client in (store.client, store.mlflow_client):
        try:
            with translate_errors(script.uri):
                reports.append(list(client.search_experiments(max_results=5)))
        except MlctlError as exc:
            reports.append((type(exc), exc.hint if script.answers[0][0] < 429 else ""))
    assert reports[0] == reports[1]


def test_answers_without_the_expected_content(script: Script) -> None:
    store = TrackingStore(script.uri)
    for content in (b"", b'{"status": "ok"}', b'{"run": {}}', b'{"run": {"info": {"run_id": "x"}}}'):
        script.answers = [(200, content, {})]
        with pytest.raises(ConfigurationError, match="is no MLflow server"):
            store.get_run("0" * 32)


def test_redirect_is_reported_with_its_address(script: Script) -> None:
    script.answers = [(302, b"", {"Location": "https://login.example/?next=x"})]
    with pytest.raises(ConfigurationError, match=r"redirects to https://login\.example"):
        _ = TrackingStore(script.uri).experiments_by_id
    assert len(script.authorizations) == 1


def test_reading_is_repeated_and_writing_is_not(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    busy, fine = (503, b"", {}), (200, EMPTY, {})
    client = TrackingStore(script.uri).client
    script.answers = [busy, fine]
    assert client.search_experiments() == []
    script.answers = [busy, busy, fine]
    with pytest.raises(UnreachableError), translate_errors(script.uri):
        client.search_experiments()
    script.answers = [busy, fine]
    with pytest.raises(UnreachableError), translate_errors(script.uri):
        client.set_tag("0" * 32, "a", "b")


def test_server_that_is_slow_or_gone(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "0.2")
    store = TrackingStore(script.uri)
    assert store.client.search_experiments() == []
    script.pause.set()
    with pytest.raises(UnreachableError, match="does not answer"), store.translate_errors():
        store.client.search_experiments()
    script.pause.clear()
    assert store.client.search_experiments() == []
    script.server.shutdown()
    script.server.server_close()
    with pytest.raises(UnreachableError, match="does not answer"):
        _ = TrackingStore(script.uri).client


@pytest.mark.parametrize("name", ["MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
def test_settings_that_are_no_numbers(script: Script, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "soon")
    with pytest.raises(ConfigurationError, match=name):
        _ = TrackingStore(script.uri).experiments_by_id


CREDENTIALS: dict[str, tuple[str, dict[str, str], str]] = {  # user in the URI, environment, file
    "none": ("", {}, ""),
    "in the URI": ("ann:p%40ss@", {}, ""),
    "in the URI, and others": ("ann:pw@", {"USERNAME": "bob", "PASSWORD": "x", "TOKEN": "t"}, "bob:x"),
    "name only in the URI": ("ann@", {"PASSWORD": "x"}, ""),
    "environment": ("", {"USERNAME": "bob", "PASSWORD": "ü:x"}, ""),
    "environment and token": ("", {"USERNAME": "bob", "PASSWORD": "x", "TOKEN": "t"}, ""),
    "half an environment": ("", {"USERNAME": "bob", "TOKEN": "t"}, ""),
    "environment and file": ("", {"USERNAME": "bob"}, "eve:from-file"),
    "file": ("", {}, "eve:100%"),
    "token": ("", {"TOKEN": "t"}, ""),
    "token and file": ("", {"TOKEN": "t"}, "eve:from-file"),
    "empty": ("", {"USERNAME": "", "PASSWORD": "", "TOKEN": ""}, ""),
}


@pytest.mark.parametrize("name", CREDENTIALS)
def test_credentials_are_those_of_mlflow(
    script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    user, environment, saved = CREDENTIALS[name]
    for key in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{key}", raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{key}", value)
    if saved:
        (tmp_path / ".mlflow").mkdir()
        username, _, password = saved.replace("%", "%%").partition(":")
        text = f"[mlflow]\nmlflow_tracking_username = {username}\nmlflow_tracking_password = {password}\n"
        (tmp_path / ".mlflow" / "credentials").write_text(text)
    store = TrackingStore(f"http://{user}{script.address}")
    for client in (store.client, store.mlflow_client):
        client.search_experiments(max_results=5)
    assert len(script.authorizations) == 2
    assert script.authorizations[0] == script.authorizations[1]
    assert bool(script.authorizations[0]) == (name not in {"none", "empty", "name only in the URI"})


@pytest.mark.needs("openssl")
def test_certificate_of_an_unknown_authority(
    script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
         "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    script.server.socket = context.wrap_socket(script.server.socket, server_side=True)
    uri = script.uri.replace("http:", "https:")
    with pytest.raises(ConfigurationError, match="is not trusted"):
        _ = TrackingStore(uri).client
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    assert TrackingStore(uri).experiments_by_id == {}
    monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    assert TrackingStore(uri).experiments_by_id == {}


def test_forked_process_opens_its_own_connection(script: Script) -> None:
    client = TrackingStore(script.uri).client
    client.search_experiments()
    before = client.http
    child = os.fork()
    if not child:
        os._exit(0 if client.http is not before and client.search_experiments() == [] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.http is before
