"""Values for completion: fast answers from the store, and silence if anything fails."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlctl.cli.completion_values import print_values


def values(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    print_values(arguments)
    printed = capsys.readouterr()
    assert printed.err == ""
    return [line.partition("\t")[0] for line in printed.out.splitlines()]


def test_a_thousand_runs_newest_first(thousand_runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", thousand_runs)
    result = subprocess.run(
        [sys.executable, "-m", "mlctl", "__complete", "RUN", ""], capture_output=True, text=True, check=True
    )
    lines = result.stdout.splitlines()
    assert lines[2] == "digits-0999\tdigits"
    assert len(lines) == 2 + 1000 + 1  # last and best; the runs; the one that MLflow created
    assert result.stderr == ""


@pytest.mark.unit
@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///missing/mlflow.db",
        "sqlite:///garbage.db",
        "http://127.0.0.1:1",
        "http://",
        "postgresql://127.0.0.1:1/x",
        "localhost:5000",
        "nonsense",
    ],
)
@pytest.mark.parametrize("kind", ["RUN", "MODEL", "VERSION", "UNKNOWN"])
def test_unreachable_store_prints_nothing(
    uri: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "garbage.db").write_bytes(b"no database" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert values(capsys, kind, "") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["garbage.db"]


@pytest.mark.unit
def test_missing_arguments_and_invalid_configuration_print_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert values(capsys) == []
    (tmp_path / "mlctl.toml").write_text("not toml [", encoding="utf-8")
    assert values(capsys, "RUN", "") == []


def test_tracking_uri_of_the_project_file_is_used(
    thousand_runs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlctl.toml").write_text(f'tracking_uri = "{thousand_runs}"\n', encoding="utf-8")
    assert values(capsys, "NAME", "w") == ["wine-quality"]
    assert values(capsys, "EXPERIMENT", "it's") == ['it\'s "odd": one']
    assert values(capsys, "RUN", "", "--tracking-uri=sqlite:///missing.db") == []


class HangingHandler(BaseHTTPRequestHandler):
    """Accepts a request and does not answer it for half a minute."""

    answered = threading.Event()

    def do_POST(self) -> None:
        time.sleep(30)
        self.answered.set()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hanging_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), HangingHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.unit
def test_hanging_server_prints_nothing(
    hanging_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", hanging_server)
    assert values(capsys, "RUN", "") == []
    assert not HangingHandler.answered.is_set()


class EchoAuthorizationHandler(BaseHTTPRequestHandler):
    """Answers with an experiment whose name is the request's Authorization header."""

    def do_POST(self) -> None:
        body = json.dumps(
            {"experiments": [{"name": str(self.headers["Authorization"]), "experiment_id": "1"}]}
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.unit
@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "secret"}, "Basic YW5uOnNlY3JldA=="),
        ({"MLFLOW_TRACKING_TOKEN": "abc"}, "Bearer abc"),
    ],
)
def test_credentials_are_sent_to_the_server(
    environment: dict[str, str],
    header: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), EchoAuthorizationHandler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    assert values(capsys, "EXPERIMENT", "") == [header]
    server.shutdown()
