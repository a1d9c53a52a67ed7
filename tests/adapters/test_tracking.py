from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.services.runs import listing as runs
from tests.tracking_store import Answer

Mlctl = Callable[..., Answer]


def test_reading_creates_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlctl: Mlctl) -> None:
    monkeypatch.chdir(tmp_path)
    listed, shown = mlctl("runs", "list", "-o", "json"), mlctl("runs", "show", "last")
    assert (listed.code, listed.out.strip()) == (0, "[]")
    assert shown.code == 3
    assert "mlctl train digits" in shown.err
    assert mlctl("experiments", "list").code == 0
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_refuses_is_told_at_once(mlctl: Mlctl) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    started = time.monotonic()
    answer = mlctl("runs", "list", "--tracking-uri", uri)
    assert answer.code == 6
    assert uri in answer.err
    assert time.monotonic() - started < 5


def test_a_server_that_hangs_is_given_up_in_seconds(mlctl: Mlctl) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        answer = mlctl("runs", "list", "--tracking-uri", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert answer.code == 6
    assert time.monotonic() - started < 5


@pytest.fixture
def stranger() -> Iterator[Callable[[int], str]]:
    servers: list[HTTPServer] = []

    def start(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"<html>hello</html>")

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize(("status", "code", "says"), [(200, 5, "no MLflow server"), (401, 5, "credentials")])
def test_what_answers_otherwise_is_a_matter_of_configuration(
    mlctl: Mlctl, stranger: Callable[[int], str], status: int, code: int, says: str
) -> None:
    answer = mlctl("runs", "list", "--tracking-uri", stranger(status))
    assert answer.code == code
    assert says in answer.err


def test_a_file_that_is_no_database_is_told(tmp_path: Path, mlctl: Mlctl) -> None:
    (tmp_path / "junk.db").write_text("these are no tables" * 100)
    answer = mlctl("runs", "list", "--tracking-uri", f"sqlite:///{tmp_path}/junk.db")
    assert answer.code == 5
    assert "junk.db" in answer.err


def test_a_server_shows_what_its_database_holds(store: str, server: str) -> None:
    here, there = list(TrackingStore(store).search()), list(TrackingStore(server).search())
    assert len(here) == 9

    def facts(found: list[object]) -> list[object]:
        return [
            (run.run_id, run.params, str(run.metrics), run.status, run.data, run.started_at) for run in found
        ]  # type: ignore[attr-defined]

    assert facts(list(there)) == facts(list(here))
    where, sort = "params.learning_rate = 0.01 and status = FINISHED", "-best_val_f1"
    mine, its = (runs.list_runs(uri, where=where, sort=sort) for uri in (store, server))
    assert [run.run_id for run in mine.runs] == [run.run_id for run in its.runs]
    detail = runs.show(server, "peak")
    assert detail.histories["val_f1"] == (0.7, 0.9, 0.8)
    assert [one.path for one in detail.artifacts] == ["history.csv", "plots", "plots/loss.txt"]
    assert {one.name: one.runs for one in runs.list_experiments(server).experiments} == {
        "toy": 7, "other": 2, "Default": 0,
    }  # fmt: skip


def test_a_run_of_another_program_is_shown(store: str) -> None:
    detail = runs.show(store, "stock")
    assert detail.histories["accuracy"] == (0.5, 0.6)
    assert detail.run.data is None
    assert detail.run.recipe == ""


def test_a_run_that_mlctl_logged_is_read_whole(store: str) -> None:
    run = runs.show(store, "peak").run
    assert run.data is not None
    assert (run.data.name, run.data.rows, run.data.seed) == ("toy", 1797, 7)
    assert run.data.splits == {"train": 1000, "validation": 300, "test": 497}
    assert run.duration_s == 12.5
    assert run.status == "FINISHED"
