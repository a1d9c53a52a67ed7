"""Reading a tracking store: a SQLite file, a server, and whatever else answers at its address."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.services.runs import listing
from tests.parts import free_port
from tests.tracking_store import Answer

Mlctl = Callable[..., Answer]


@pytest.mark.unit
def test_reading_creates_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlctl: Mlctl) -> None:
    monkeypatch.chdir(tmp_path)
    listed, shown = mlctl("runs", "list", "-o", "json"), mlctl("runs", "show", "last")
    assert (listed.code, listed.out.strip()) == (0, "[]")
    assert shown.code == 3
    assert "mlctl train digits" in shown.err
    assert mlctl("experiments", "list").code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.unit
def test_server_that_refuses_connections_is_unreachable(mlctl: Mlctl) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    answer = mlctl("runs", "list", "--tracking-uri", uri)
    assert answer.code == 6
    assert uri in answer.err


@pytest.mark.unit
def test_server_that_hangs_is_unreachable(mlctl: Mlctl) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        answer = mlctl("runs", "list", "--tracking-uri", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert answer.code == 6


@pytest.fixture
def other_server() -> Iterator[Callable[[int], str]]:
    """Start a server that is not MLflow's and answers everything with a status; return its URL."""
    servers: list[HTTPServer] = []

    def start(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"<html>hello</html>")

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.unit
@pytest.mark.parametrize(("status", "code", "text"), [(200, 5, "no MLflow server"), (401, 5, "credentials")])
def test_other_server_is_a_configuration_error(
    mlctl: Mlctl, other_server: Callable[[int], str], status: int, code: int, text: str
) -> None:
    answer = mlctl("runs", "list", "--tracking-uri", other_server(status))
    assert answer.code == code
    assert text in answer.err


@pytest.mark.unit
def test_file_that_is_no_database_is_a_configuration_error(tmp_path: Path, mlctl: Mlctl) -> None:
    (tmp_path / "junk.db").write_text("these are no tables" * 100)
    answer = mlctl("runs", "list", "--tracking-uri", f"sqlite:///{tmp_path}/junk.db")
    assert answer.code == 5
    assert "junk.db" in answer.err


def facts(runs: list[Run]) -> list[object]:
    return [(run.run_id, run.params, str(run.metrics), run.status, run.data, run.started_at) for run in runs]


@pytest.mark.live
def test_the_end_of_a_run_on_a_server_prints_nothing(
    server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", raising=False)
    store = TrackingStore(server)
    run = next(run for run in store.client.search_runs(list(store.experiments_by_id)) if run.info.end_time)
    store.client.set_terminated(run.info.run_id, run.info.status, run.info.end_time)  # as it is already
    assert capfd.readouterr().out == ""


@pytest.mark.live
def test_server_shows_what_its_database_contains(store: str, server: str) -> None:
    local, remote = TrackingStore(store), TrackingStore(server)
    runs = list(local.search_runs())
    assert len(runs) == 9
    assert facts(list(remote.search_runs())) == facts(runs)
    where, sort = "params.learning_rate = 0.01 and status = FINISHED", "-best_val_f1"
    file_list, server_list = (listing.list_runs(uri, where=where, sort=sort) for uri in (store, server))
    assert [run.run_id for run in file_list.runs] == [run.run_id for run in server_list.runs]
    detail = listing.show_run(server, "peak")
    assert detail.histories["val_f1"] == (0.7, 0.9, 0.8)
    assert [artifact.path for artifact in detail.artifacts] == ["history.csv", "plots", "plots/loss.txt"]
    experiments = listing.list_experiments(server).experiments
    assert {experiment.name: experiment.runs for experiment in experiments} == {
        "toy": 7,
        "other": 2,
        "Default": 0,
    }


@pytest.mark.unit
def test_run_of_another_program_is_shown(store: str) -> None:
    detail = listing.show_run(store, "stock")
    assert detail.histories["accuracy"] == (0.5, 0.6)
    assert detail.run.data is None
    assert detail.run.recipe == ""


@pytest.mark.unit
def test_run_that_mlctl_logged_is_read_completely(store: str) -> None:
    run = listing.show_run(store, "peak").run
    assert run.data is not None
    assert (run.data.name, run.data.rows, run.data.seed) == ("toy", 1797, 7)
    assert run.data.splits == {"train": 1000, "validation": 300, "test": 497}
    assert run.duration_s == 12.5
    assert run.status == "FINISHED"
