"""The life of a server with the embedded database: start, restart after a crash, stop. Nothing is lost or left over."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from mlctl.domain.heartbeat import HEARTBEAT
from tests.parts import eventually
from tests.parts.command_line import CommandLine
from tests.parts.fake_server import fake_server
from tests.parts.postgres import PASSWORD, Postgres

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("empty_database")]

LOGGING_CLIENT = Path(__file__).parents[1] / "parts" / "logging_client.py"


def process_tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def is_running(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def port_is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def read(told: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in told.read_text().splitlines() if line.endswith("}")]


def test_a_server_starts_answers_and_stops(mlctl: CommandLine) -> None:
    up = mlctl.json("server-up", "--port", "0", "--workers", "2")
    assert {"name", "url", "pid", "log", "status", "tracking_uri", "backend", "bucket"} <= set(up)
    assert up["status"] == "up"
    again = mlctl.json("server-up", "--port", "0")
    assert (again["already"], again["url"], again["pid"]) == (True, up["url"], up["pid"])
    assert mlctl("server-up", "--print-env").stdout == f"export MLFLOW_TRACKING_URI={up['url']}\n"

    from mlflow import MlflowClient

    client = MlflowClient(up["url"])
    run = client.create_run(client.create_experiment("first"))
    note = mlctl.cwd / "note.txt"
    note.write_text("kept")
    client.log_artifact(run.info.run_id, str(note))
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert list((mlctl.cwd / "mlartifacts").rglob("note.txt"))

    status = mlctl.json("server-status")
    assert (status["runs"], status["experiments"], status["status"]) == (1, 2, "up")
    assert [server["name"] for server in mlctl.json("server-status", "--all")] == ["main"]
    import urllib.request

    counters = urllib.request.urlopen(up["url"] + "/metrics").read().decode()
    assert 'mlctl_server_requests_total{area="runs",method="POST",status="2xx"}' in counters
    assert "mlctl_server_database_up 1" in counters
    processes = process_tree(up["pid"])
    assert mlctl.json("server-down")["how"] == "gracefully"
    assert not [process for process in processes if is_running(process)]
    assert mlctl.state_files() == []
    assert [file.name for file in mlctl.cwd.glob("mlflow.db*")] == [
        "mlflow.db"
    ]  # a single file, which users can copy
    assert "no server named" in mlctl.fails(3, "server-down")
    assert "no server named" in mlctl.fails(3, "server-status")
    assert mlctl("server-logs").stdout != ""


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
def test_three_first_starts_at_once_are_all_healthy(
    mlctl: CommandLine, kind: str, request: pytest.FixtureRequest
) -> None:
    """Under three names, with one database that none of them has created yet."""
    (mlctl.cwd / "mlflow.db").unlink()
    backend: tuple[str, ...] = ()
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        backend = ("--backend", server.uri(server.new_database()))
        mlctl.environment = {"PGPASSWORD": PASSWORD}
    up = ("server-up", "--port", "0", "--workers", "1", *backend, "--name")
    with ThreadPoolExecutor(3) as pool:
        ups = list(pool.map(lambda number: mlctl.json(*up, f"s{number}"), range(3)))
    assert len({up["pid"] for up in ups}) == 3
    assert [server["status"] for server in mlctl.json("server-status", "--all")] == ["up"] * 3


def test_three_starts_of_one_name_are_one_server(mlctl: CommandLine) -> None:
    with ThreadPoolExecutor(3) as pool:
        ups = list(pool.map(lambda _: mlctl.json("server-up", "--port", "0", "--workers", "1"), range(3)))
    assert len({up["pid"] for up in ups}) == 1
    assert sorted(up["already"] for up in ups) == [False, True, True]


def test_a_running_server_with_other_options_is_refused(mlctl: CommandLine) -> None:
    with fake_server(mlctl):
        assert (
            f"main is up already at http://127.0.0.1:9, with root {mlctl.cwd}, not {mlctl.cwd}/other"
            in mlctl.fails(4, "server-up", "--root", "other")
        )
        assert "bucket none, not models" in mlctl.fails(4, "server-up", "--bucket", "models")
        backend = mlctl.fails(4, "server-up", "--auth", "--backend", "postgresql://m@db/m")
        assert "not postgresql://m@db/m; with no authentication, not --auth" in backend
        assert "is not ready: it does not answer" in mlctl.fails(6, "server-up", "--print-env")
    options = {"--default-permission": "", "--static-prefix": "/ml"}
    with fake_server(mlctl, auth=True, options=options):
        message = mlctl.fails(4, "server-up", "--auth", "--default-permission", "none")
        assert "with --default-permission left out, not none" in message
        assert "--static-prefix /ml, not /x" in mlctl.fails(4, "server-up", "--static-prefix", "/x")
        mlctl.fails(6, "server-up", "--static-prefix", "/ml")


def upload_slowly(url: str, started: threading.Event, seconds: float) -> int:
    """Upload a small artifact over some seconds; return the status."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.putrequest("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/slow.txt")
    connection.putheader("Content-Length", "10")
    connection.endheaders()
    for _ in range(10):
        connection.send(b"x")
        started.set()
        time.sleep(seconds / 10)
    return connection.getresponse().status


def test_server_up_waits_for_a_server_that_stops(mlctl: CommandLine) -> None:
    """An upload in flight succeeds, and server-up then starts a new server."""
    up = ("server-up", "--port", "0", "--workers", "1")
    first, started = mlctl.json(*up), threading.Event()
    with ThreadPoolExecutor(3) as pool:
        upload = pool.submit(upload_slowly, first["url"], started, 4)
        assert started.wait(60)
        down = pool.submit(mlctl.json, "server-down")
        state_file = mlctl.state_files()[0]
        eventually(lambda: "grace_s" in state_file.read_text(), 20, 0.01)
        again = mlctl.json(*up)
        assert (upload.result(), down.result()["how"]) == (200, "gracefully")
    assert (again["already"], again["status"]) == (False, "up")
    assert again["pid"] != first["pid"]
    assert mlctl.json("server-status")["status"] == "up"


def test_a_stale_state_file_with_a_reused_pid_is_not_a_server(mlctl: CommandLine) -> None:
    """The pid is that of this test, which must not be stopped."""
    folder = mlctl.state / "servers"
    folder.mkdir(parents=True)
    state = {
        "name": "main",
        "instance": "x",
        "pid": os.getpid(),
        "started": time.time() - 10_000,
        "url": "http://x",
        "local_url": "http://127.0.0.1:9",
        "log": "x",
        "artifacts": "x",
        "workers": 1,
        "auth": False,
        "place": {"root": str(mlctl.cwd), "backend": "sqlite:///x.db", "bucket": None},
    }
    (folder / "main.json").write_text(json.dumps(state))
    assert mlctl.json("server-status")["status"] == "gone"
    assert mlctl.json("server-down")["how"] == "gone"
    (folder / "main.json").write_text(json.dumps(state))
    up = mlctl.json("server-up", "--port", "0", "--workers", "1")
    assert (up["already"], up["status"]) == (False, "up")
    mlctl("server-down")


def test_the_server_does_not_hold_the_streams_of_server_up(mlctl: CommandLine) -> None:
    """A program that reads the output of server-up sees its end although the server still runs."""
    command = f"{sys.executable} -m mlctl server-up --port 0 --workers 1 --print-env 2>&1 | cat"
    done = subprocess.run(
        command,
        shell=True,
        cwd=mlctl.cwd,
        env=mlctl.full_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "export MLFLOW_TRACKING_URI=" in done.stdout
    mlctl("server-down")


@pytest.fixture
def supervised_server(mlctl: CommandLine) -> Iterator[dict[str, object]]:
    command = json.dumps(["sh", "-c", f'printf "%s\\n" "$(cat)" >> {mlctl.cwd}/told'])  # in one piece
    (mlctl.cwd / "mlctl.toml").write_text(f"[notify]\ncommand = {command}\n")
    yield mlctl.json("server-up", "--port", "0", "--workers", "2", "--supervise")
    mlctl("server-down", code=None)


def test_a_crash_loses_no_acknowledged_value(
    mlctl: CommandLine, supervised_server: dict[str, object]
) -> None:
    """While 8 clients log values, a worker is killed, then the server. The supervisor restarts it.

    [notify] is told about that once, and about a run whose process died without a word.
    """
    pid, url = int(str(supervised_server["pid"])), str(supervised_server["url"])
    environment = {**mlctl.full_environment(), "MLFLOW_TRACKING_URI": url}
    clients = subprocess.Popen(
        [sys.executable, LOGGING_CLIENT, "8", "120"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert clients.stdout
    assert clients.stdout.readline() == "logging\n"
    from mlflow import MlflowClient

    client = MlflowClient(url)
    tags = {HEARTBEAT: f"{time.time() - 100:.0f}"}
    lost = client.create_run("0", run_name="gone", tags=tags).info.run_id
    launcher = psutil.Process(pid).children()[0]
    worker = launcher.children()[0]
    worker.kill()
    eventually(lambda: len(launcher.children()) == 2 and not worker.is_running())
    time.sleep(1)
    workers = launcher.children()
    launcher.kill()
    eventually(lambda: not any(map(is_running, workers)))
    eventually(lambda: mlctl.json("server-status")["status"] == "up", 60, 0.5)
    time.sleep(2)  # the clients log some more values to the restarted server
    clients.terminate()
    acknowledged = json.loads(clients.communicate(timeout=120)[0].splitlines()[-1])
    for run_id, steps in acknowledged.items():
        stored = {point.step for point in client.get_metric_history(run_id, "value")}
        assert set(steps) <= stored
    assert min(len(steps) for steps in acknowledged.values()) > 3
    assert "restarting it" in mlctl("server-logs").stdout
    told = mlctl.cwd / "told"
    eventually(lambda: told.exists() and {"server_down", "run_lost"} <= {one["event"] for one in read(told)})
    downs = [one for one in read(told) if one["event"] == "server_down"]
    assert [one["reason"] for one in downs] == ["it ended with SIGKILL and starts again"]
    # a worker that replaces another one does not know who was told
    assert {one["run_id"] for one in read(told) if one["event"] == "run_lost"} == {lost}


def test_a_killed_server_frees_its_port(mlctl: CommandLine) -> None:
    up = mlctl.json("server-up", "--port", "0", "--workers", "2")
    port = int(up["url"].rpartition(":")[2])
    os.kill(up["pid"], signal.SIGKILL)
    eventually(lambda: port_is_free(port))
    assert mlctl.json("server-status")["status"] == "gone"
    assert mlctl.json("server-up", "--port", str(port), "--workers", "1")["already"] is False
    mlctl("server-down")


def test_in_the_foreground_server_up_becomes_the_server(mlctl: CommandLine) -> None:
    """As a container's first process: it receives the signal, writes to its own streams, and deletes its state file."""
    command = [sys.executable, "-m", "mlctl", "server-up", "--port", "0", "--workers", "1", "--foreground"]
    process = subprocess.Popen(
        command, cwd=mlctl.cwd, env=mlctl.full_environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        eventually(lambda: bool(mlctl.state_files()), 60)
        assert json.loads(mlctl.state_files()[0].read_text())["pid"] == process.pid
        eventually(lambda: mlctl.json("server-status")["status"] == "up", 60, 0.5)
        process.terminate()
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0
        assert (out, b"in the foreground" in err) == (b"", True)
        assert mlctl.state_files() == []
    finally:
        process.kill()
