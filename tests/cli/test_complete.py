"""What the scripts ask for: answers from the store, soon, and never a word where there is none."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlctl.cli.complete import answer


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    answer(arguments)
    said = capsys.readouterr()
    assert said.err == ""
    return [line.partition("\t")[0] for line in said.out.splitlines()]


def test_a_thousand_runs_in_under_a_second_newest_first(
    thousand_runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", thousand_runs)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "mlctl", "__complete", "RUN", ""], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = done.stdout.splitlines()
    assert lines[2] == "digits-0999\tdigits"
    assert len(lines) == 2 + 1000 + 1  # last and best; the runs; the one that MLflow made
    assert done.stderr == ""
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 1, f"{spent:.2f} CPU seconds"


@pytest.mark.parametrize(
    "away",
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
@pytest.mark.parametrize("kind", ["RUN", "MODEL", "VERSION", "UNHEARD-OF"])
def test_a_store_that_cannot_be_had_is_silence(
    away: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "garbage.db").write_bytes(b"no database" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", away)
    assert asked(capsys, kind, "") == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["garbage.db"]


def test_no_arguments_and_a_broken_configuration_are_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert asked(capsys) == []
    (tmp_path / "mlctl.toml").write_text("not toml [", encoding="utf-8")
    assert asked(capsys, "RUN", "") == []


def test_the_tracking_uri_of_the_project_file_counts(
    thousand_runs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlctl.toml").write_text(f'tracking_uri = "{thousand_runs}"\n', encoding="utf-8")
    assert asked(capsys, "NAME", "w") == ["wine-quality"]
    assert asked(capsys, "EXPERIMENT", "it's") == ['it\'s "odd": one']
    assert asked(capsys, "RUN", "", "--tracking-uri=sqlite:///missing.db") == []


class Hanging(BaseHTTPRequestHandler):
    """A server that takes a request and never answers."""

    def do_POST(self) -> None:
        time.sleep(30)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hanging() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hanging)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_server_that_hangs_is_given_up(
    hanging: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", hanging)
    started = time.monotonic()
    assert asked(capsys, "RUN", "") == []
    assert time.monotonic() - started < 4


class Locked(BaseHTTPRequestHandler):
    """A server that answers with what it was sent as authorization."""

    def do_POST(self) -> None:
        body = json.dumps(
            {"experiments": [{"name": str(self.headers["Authorization"]), "experiment_id": "1"}]}
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "secret"}, "Basic YW5uOnNlY3JldA=="),
        ({"MLFLOW_TRACKING_TOKEN": "abc"}, "Bearer abc"),
    ],
)
def test_a_server_is_told_who_asks(
    environment: dict[str, str],
    header: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Locked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    assert asked(capsys, "EXPERIMENT", "") == [header]
    server.shutdown()
