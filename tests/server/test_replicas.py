"""Replicas of a server: one database, one bucket, nginx with TLS and a prefix in front, and faults under load."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.parts import eventually, free_port, logging_client, nginx
from tests.parts.command_line import CommandLine
from tests.parts.postgres import PASSWORD, Postgres
from tests.parts.s3 import S3

pytestmark = [
    pytest.mark.live,
    pytest.mark.needs("postgres"),
    pytest.mark.needs("s3"),
    pytest.mark.needs("nginx"),
    pytest.mark.needs("openssl"),
]

PREFIX, ADMIN = "/team/mlflow", "admin-Secret-4713"
OLD_MLFLOW = "3.16.0"  # two migrations before 3.17


@dataclass
class Replicas:
    """Servers of one database and one bucket behind nginx.

    Attributes:
        options: Options of each server-up.
        ports: The port of each replica, by its name.
    """

    line: CommandLine
    options: tuple[str, ...]
    ports: dict[str, int]
    url: str = ""

    def start(self, name: str, *options: str, env: dict[str, str] | None = None) -> Any:
        port = str(self.ports[name])
        return self.line.json("server-up", "--name", name, "--port", port, *self.options, *options, env=env)

    def stop(self, name: str) -> None:
        self.line("server-down", "--name", name)

    def kill(self, name: str) -> None:
        """Kill a replica's launcher, whose workers end with it."""
        state = json.loads((self.line.state / "servers" / f"{name}.json").read_text())
        os.kill(state["pid"], signal.SIGKILL)

    def ready(self, name: str) -> bool:
        return bool(self.line.json("server-status", "--name", name)["status"] == "up")


@contextlib.contextmanager
def replicas(
    mlctl: CommandLine, postgres: Postgres, s3: S3, *, auth: bool, number: int = 3
) -> Iterator[Replicas]:
    """Yield replicas that are not started yet."""
    (mlctl.cwd / "admin").write_text(ADMIN)
    bucket, database = s3.new_bucket(), postgres.new_database()
    mlctl.environment = {**s3.environment, "PGPASSWORD": PASSWORD, "MLFLOW_FLASK_SERVER_SECRET_KEY": "0" * 64}
    yield Replicas(
        mlctl,
        (
            *("--backend", postgres.uri(database), "--bucket", bucket, "--endpoint-url", s3.url),
            *("--workers", "1", "--static-prefix", PREFIX),
            *(("--auth", "--admin-password-file", "admin") if auth else ()),
            *("--allowed-host", "localhost"),
        ),
        {f"replica{index}": free_port() for index in range(number)},
    )


@contextlib.contextmanager
def behind_nginx(servers: Replicas, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    line = servers.line
    upstreams = [part for port in servers.ports.values() for part in ("--upstream", f"127.0.0.1:{port}")]
    line(
        "export",
        "server",
        "proxy",
        "--to",
        "nginx",
        "--host",
        "localhost",
        "--static-prefix",
        PREFIX,
        *upstreams,
    )
    folder = line.cwd / "proxy"
    nginx.without_passwords(folder / "mlflow.conf")
    port, cert = nginx.free_ports(folder / "mlflow.conf"), nginx.make_certificate(folder)
    for name, value in {
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(cert),
        "NO_PROXY": "localhost",
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": ADMIN,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # so that each failure is seen
    }.items():
        monkeypatch.setenv(name, value)
    url = f"https://localhost:{port}{PREFIX}"
    with nginx.running(folder, f"{url}/ready", cert):
        yield url


@contextlib.contextmanager
def load(url: str, clients: int) -> Iterator[dict[str, list[int]]]:
    """Log values until the block ends; then the yielded dict has the acknowledged steps of each run."""
    acknowledged: dict[str, list[int]] = {}
    process = subprocess.Popen(
        [sys.executable, logging_client.__file__, str(clients), "600"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": url},
    )
    assert process.stdout
    try:
        assert process.stdout.readline() == "logging\n"
        yield acknowledged
        process.send_signal(signal.SIGTERM)
        acknowledged |= json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def check(url: str, acknowledged: dict[str, list[int]]) -> int:
    """Check that every acknowledged value is there, once; return their number."""
    client = MlflowClient(url)
    for run_id, steps in acknowledged.items():
        history = [point.step for point in client.get_metric_history(run_id, "value")]
        assert len(history) == len(set(history))
        assert set(steps) <= set(history)
    return sum(map(len, acknowledged.values()))


def check_note(servers: Replicas, name: str, run_id: str) -> None:
    """Check that a replica itself, without nginx, sends the run and its artifact."""
    client = MlflowClient(f"http://127.0.0.1:{servers.ports[name]}{PREFIX}")
    assert client.get_run(run_id).info.run_id == run_id
    assert Path(client.download_artifacts(run_id, "note.txt")).read_text() == "a note"


@pytest.mark.parametrize("number", [2, pytest.param(3, marks=pytest.mark.long)])
def test_a_replica_is_killed_and_another_one_replaced_under_load(
    mlctl: CommandLine, postgres: Postgres, s3: S3, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """No acknowledged value is lost, a user is known to all, and what one replica stored another one sends."""
    with replicas(mlctl, postgres, s3, auth=True, number=number) as servers:
        for name in servers.ports:
            servers.start(name)
        with behind_nginx(servers, monkeypatch) as url:
            client = MlflowClient(url)
            run_id = client.create_run("0").info.run_id
            client.log_text(run_id, "a note", "note.txt")
            for name in servers.ports:
                check_note(servers, name, run_id)
            with load(url, 4) as acknowledged:
                time.sleep(2)
                servers.kill("replica0")
                time.sleep(2)
                servers.start("replica0")
                servers.stop("replica1")
                time.sleep(3)
                if number > 2:
                    servers.start("replica1")
            assert check(url, acknowledged) > 50
            check_note(servers, "replica0", run_id)


@pytest.mark.long
def test_a_rolling_upgrade_with_a_schema_migration(
    mlctl: CommandLine, postgres: Postgres, s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three replicas of an older MLflow become this one, one after the other, while clients write."""
    old = tmp_path / "old"
    packages = [f"{name}=={OLD_MLFLOW}" for name in ("mlflow", "mlflow-skinny", "mlflow-tracing")]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", old, *packages], check=True
    )
    with replicas(mlctl, postgres, s3, auth=False) as servers:  # 3.16 wants the password in its file
        for name in servers.ports:
            assert servers.start(name, env={"PYTHONPATH": str(old)})["mlflow"] == OLD_MLFLOW
        with behind_nginx(servers, monkeypatch) as url:
            with load(url, 6) as acknowledged:
                time.sleep(5)
                storage = servers.options[:6]
                migrated = mlctl.json("server-up", "--migrate-only", *storage)  # as the init container does
                time.sleep(5)  # the older replicas go on with the new schema
                for name in servers.ports:
                    servers.stop(name)
                    assert servers.start(name)["mlflow"] != OLD_MLFLOW
                    eventually(lambda name=name: servers.ready(name))
                    time.sleep(2)
            total = check(url, acknowledged)
            assert total > 500
            print(f"revision {migrated['revision']}: {total} acknowledged values, all there")
