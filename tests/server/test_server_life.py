"""A server's life on the embedded default: up, found, killed, back again, down; nothing left, nothing lost."""

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

from mlctl.tracking_server import launcher
from mlctl.tracking_server.server_config import ServerConfig
from tests.parts import eventually
from tests.parts.command_line import CommandLine
from tests.parts.noted import noted
from tests.parts.postgres import PASSWORD, Postgres

LOGGING_CLIENT = Path(__file__).parents[1] / "parts" / "logging_client.py"


def family(pid: int) -> list[psutil.Process]:
    whole = psutil.Process(pid)
    return [whole, *whole.children(recursive=True)]


def port_is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def test_a_server_comes_up_is_found_and_goes(mlctl: CommandLine) -> None:
    up = mlctl.json("server-up", "--port", "0", "--workers", "2", "--metrics")
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
    assert [one["name"] for one in mlctl.json("server-status", "--all")] == ["main"]
    import urllib.request

    counters = urllib.request.urlopen(up["url"] + "/metrics").read().decode()
    assert 'mlctl_server_requests_total{area="runs",method="POST",status="2xx"}' in counters
    assert "mlctl_server_database_up 1" in counters
    processes = family(up["pid"])
    assert mlctl.json("server-down")["how"] == "gracefully"
    assert not [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert mlctl.notes() == []
    assert [file.name for file in mlctl.cwd.glob("mlflow.db*")] == ["mlflow.db"]  # one file, to be copied
    assert "no server named" in mlctl.fails(3, "server-down")
    assert "no server named" in mlctl.fails(3, "server-status")
    assert mlctl("server-logs").stdout != ""


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
def test_three_first_starts_at_once_are_all_healthy(
    mlctl: CommandLine, kind: str, request: pytest.FixtureRequest
) -> None:
    """Under three names, of one database that none of them has created yet."""
    where: tuple[str, ...] = ()
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        where = ("--backend", server.uri(server.new_database()))
        mlctl.environment = {"PGPASSWORD": PASSWORD}
    up = ("server-up", "--port", "0", "--workers", "1", *where, "--name")
    with ThreadPoolExecutor(3) as pool:
        ups = list(pool.map(lambda number: mlctl.json(*up, f"s{number}"), range(3)))
    assert len({up["pid"] for up in ups}) == 3
    assert [one["status"] for one in mlctl.json("server-status", "--all")] == ["up"] * 3


def test_one_name_at_once_is_one_server(mlctl: CommandLine) -> None:
    with ThreadPoolExecutor(3) as pool:
        ups = list(pool.map(lambda _: mlctl.json("server-up", "--port", "0", "--workers", "1"), range(3)))
    assert len({up["pid"] for up in ups}) == 1
    assert sorted(up["already"] for up in ups) == [False, True, True]


def test_another_server_is_not_up_already(mlctl: CommandLine) -> None:
    with noted(mlctl):
        other = mlctl.fails(4, "server-up", "--root", "other")
        assert (
            f"main is up already at http://127.0.0.1:9, with root {mlctl.cwd}, not {mlctl.cwd}/other" in other
        )
        assert "bucket none, not models" in mlctl.fails(4, "server-up", "--bucket", "models")
        backend = mlctl.fails(4, "server-up", "--auth", "--backend", "postgresql://m@db/m")
        assert "not postgresql://m@db/m; with no users and passwords, not --auth" in backend
        assert "is not ready: it does not answer" in mlctl.fails(6, "server-up", "--print-env")


def send_slowly(url: str, begun: threading.Event, seconds: float) -> int:
    """Upload a small artifact over some seconds; return the status."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.putrequest("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/slow.txt")
    connection.putheader("Content-Length", "10")
    connection.endheaders()
    for _ in range(10):
        connection.send(b"x")
        begun.set()
        time.sleep(seconds / 10)
    return connection.getresponse().status


def test_going_down_it_is_not_up_already(mlctl: CommandLine) -> None:
    """An upload in flight ends well, and who wants it up meanwhile gets the next one."""
    up = ("server-up", "--port", "0", "--workers", "1")
    first, begun = mlctl.json(*up), threading.Event()
    with ThreadPoolExecutor(3) as pool:
        sent = pool.submit(send_slowly, first["url"], begun, 4)
        assert begun.wait(10)
        down = pool.submit(mlctl.json, "server-down")
        note = mlctl.notes()[0]
        eventually(lambda: "grace_s" in note.read_text(), 20, 0.01)
        again = mlctl.json(*up)
        assert (sent.result(), down.result()["how"]) == (200, "gracefully")
    assert (again["already"], again["status"]) == (False, "up")
    assert again["pid"] != first["pid"]
    assert mlctl.json("server-status")["status"] == "up"


def test_the_server_grants_what_server_down_has_said(tmp_path: Path) -> None:
    note = tmp_path / "main.json"
    plan = ServerConfig("main", "x", "", 0, "", "", None, told=str(note))
    assert launcher._grace_s(plan) == launcher.STOP_WITHIN_S
    note.write_text('{"grace_s": 90.0}')
    assert launcher._grace_s(plan) > 90


def test_a_stale_note_and_a_reused_pid_are_no_server(mlctl: CommandLine) -> None:
    """The noted pid is this test's own: it must be neither taken for the server nor stopped."""
    folder = mlctl.state / "servers"
    folder.mkdir(parents=True)
    where = {"root": str(mlctl.cwd), "backend": "sqlite:///x.db", "bucket": None}
    note = {
        "name": "main", "instance": "x", "pid": os.getpid(), "started": time.time() - 10_000, "url": "http://x",
        "local_url": "http://127.0.0.1:9", "log": "x", "artifacts": "x", "workers": 1, "auth": False,
        "place": where,
    }  # fmt: skip
    (folder / "main.json").write_text(json.dumps(note))
    assert mlctl.json("server-status")["status"] == "gone"
    assert mlctl.json("server-down")["how"] == "gone"
    (folder / "main.json").write_text(json.dumps(note))
    up = mlctl.json("server-up", "--port", "0", "--workers", "1")
    assert (up["already"], up["status"]) == (False, "up")
    mlctl("server-down")


def test_the_callers_streams_are_free_when_it_returns(mlctl: CommandLine) -> None:
    """A reader at the other end of a pipe sees its end although the server goes on."""
    command = f"{sys.executable} -m mlctl server-up --port 0 --workers 1 --print-env 2>&1 | cat"
    done = subprocess.run(
        command,
        shell=True,
        cwd=mlctl.cwd,
        env=mlctl.whole_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "export MLFLOW_TRACKING_URI=" in done.stdout
    mlctl("server-down")


@pytest.fixture
def kept_alive(mlctl: CommandLine) -> Iterator[dict[str, object]]:
    yield mlctl.json("server-up", "--port", "0", "--workers", "2", "--supervise")
    mlctl("server-down", code=None)


def test_nothing_acknowledged_is_lost_when_it_is_killed(
    mlctl: CommandLine, kept_alive: dict[str, object]
) -> None:
    """While 8 clients log, a worker is killed, then the whole server: it comes back, and all is there."""
    pid, url = int(str(kept_alive["pid"])), str(kept_alive["url"])
    environment = {**mlctl.whole_environment(), "MLFLOW_TRACKING_URI": url}
    clients = subprocess.Popen(
        [sys.executable, LOGGING_CLIENT, "8", "12"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert clients.stdout
    assert clients.stdout.readline() == "logging\n"
    launcher = psutil.Process(pid).children()[0]
    worker = launcher.children()[0]
    worker.kill()
    eventually(lambda: len(launcher.children()) == 2 and not worker.is_running())
    time.sleep(1)
    workers = launcher.children()
    launcher.kill()
    eventually(
        lambda: not [one for one in workers if one.is_running() and one.status() != psutil.STATUS_ZOMBIE], 2
    )
    eventually(lambda: mlctl.json("server-status")["status"] == "up", 60, 0.5)
    said = json.loads(clients.communicate(timeout=120)[0].splitlines()[-1])

    from mlflow import MlflowClient

    client = MlflowClient(url)
    for run_id, acknowledged in said.items():
        steps = {point.step for point in client.get_metric_history(run_id, "value")}
        assert set(acknowledged) <= steps
    assert min(len(acknowledged) for acknowledged in said.values()) > 3
    assert "starting it again" in mlctl("server-logs").stdout


def test_killed_without_a_supervisor_nothing_holds_the_port(mlctl: CommandLine) -> None:
    up = mlctl.json("server-up", "--port", "0", "--workers", "2")
    port = int(up["url"].rpartition(":")[2])
    os.kill(up["pid"], signal.SIGKILL)
    eventually(lambda: port_is_free(port), 2)
    assert mlctl.json("server-status")["status"] == "gone"
    assert mlctl.json("server-up", "--port", str(port), "--workers", "1")["already"] is False
    mlctl("server-down")


def test_in_the_foreground_it_is_the_process_that_was_started(mlctl: CommandLine) -> None:
    """A container's first process: it gets the signal itself, writes to its own streams, and tidies up."""
    command = [sys.executable, "-m", "mlctl", "server-up", "--port", "0", "--workers", "1", "--foreground"]
    process = subprocess.Popen(
        command, cwd=mlctl.cwd, env=mlctl.whole_environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        eventually(lambda: bool(mlctl.notes()), 60)
        assert json.loads(mlctl.notes()[0].read_text())["pid"] == process.pid
        eventually(lambda: mlctl.json("server-status")["status"] == "up", 60, 0.5)
        process.terminate()
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert (out, b"in the foreground" in err) == (b"", True)
        assert mlctl.notes() == []
    finally:
        process.kill()
