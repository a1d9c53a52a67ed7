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
from tests.store import METRICS


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


def test_metrics_and_fields_of_the_newest_runs(
    thousand_runs: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", thousand_runs)
    assert values(capsys, "METRIC", "") == list(METRICS)
    assert values(capsys, "METRIC", "val") == ["val_f1", "val_loss"]
    assert values(capsys, "FIELD", "started,-test") == ["started,-test_accuracy"]
    assert values(capsys, "FIELD", "durat") == ["duration"]
    assert values(capsys, "FIELD", "params.") == ["params.units"]
    assert values(capsys, "OBJECTIVE", "") == ["max:val_f1", "min:val_loss"]


SCRIPT = """
import argparse
raise SystemExit("completion executes no script")
parser = argparse.ArgumentParser()
parser.add_argument("-b", "--batch-size", type=int, help="rows per step")
parser.add_argument("--lr", type=float)
parser.add_argument("folder")
"""
RECIPE = """
from mlctl.recipes import Recipe, choice, hyperparameter
raise SystemExit("completion executes no recipe")

class Mine(Recipe):
    width = hyperparameter(8, low=1, high=16, help="of the layer")
    activation = choice("relu", "tanh")
"""


@pytest.mark.unit
def test_names_for_set_and_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "mine.py").write_text(RECIPE, encoding="utf-8")
    assert values(capsys, "SETTING", "un", "train", "digits", "--set") == ["units="]
    assert values(capsys, "SETTING", "schedule=co", "train", "digits") == [
        "schedule=constant",
        "schedule=cosine",
    ]
    assert values(capsys, "SPACE", "", "tune", "-P", "2", "train.py", "--space") == ["batch-size=", "lr="]
    assert values(capsys, "SETTING", "", "train", "train.py") == []  # the script has options of its own
    assert {"width=", "activation=", "epochs="} <= set(values(capsys, "SPACE", "", "tune", "./mine.py:Mine"))
    assert values(capsys, "SETTING", "split_", "train", "any.csv") == ["split_seed="]
    assert values(capsys, "SPACE", "split_", "tune", "any.csv") == []
    assert values(capsys, "SPACE", "", "tune", "no-such.py") == []


@pytest.mark.unit
def test_names_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLCTL_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://127.0.0.1:1/x")
    assert [values(capsys, kind, "") for kind in ("ENDPOINT", "SERVER", "OWNER")] == [[], [], []]
    assert list(tmp_path.iterdir()) == []
    for folder, name in (("endpoints", "Digits"), ("servers", "main")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.json").write_text("{}", encoding="utf-8")
    (tmp_path / "keys").write_text(f"anna {'a' * 64} 2026-01-02\n", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    assert values(capsys, "ENDPOINT", "D") == ["Digits"]
    assert values(capsys, "SERVER", "") == ["main"]
    assert values(capsys, "OWNER", "", "revoke", "--api-key-file", str(tmp_path / "keys")) == ["anna"]
    assert sorted(tmp_path.rglob("*")) == before


def test_no_kind_imports_a_heavy_package() -> None:
    program = (
        "import sys; from mlctl.cli.completion_values import print_values\n"
        "for kind in ('METRIC', 'FIELD', 'SETTING', 'SPACE', 'ENDPOINT', 'SERVER', 'OWNER'):\n"
        "    print_values([kind, '', 'tune', 'digits'])\n"
        "print({'numpy', 'pandas', 'keras', 'mlflow', 'typer', 'rich', 'sqlalchemy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "set()"
