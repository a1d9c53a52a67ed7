"""Endpoints as real processes: workers that die, version swaps, API keys, metrics, logs, and the command itself."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlctl.errors import NotFoundError
from mlctl.services.serving import keys
from mlctl.services.serving.serve import EndpointOptions, serve
from mlctl.settings import load

from .conftest import RunningEndpoint, StartEndpoint, start_endpoint

pytestmark = pytest.mark.live

IMAGE = {"inputs": [[[7] * 8 for _ in range(8)]]}


@dataclass
class Load:
    """Clients that send requests without a pause over kept connections, and count the answers."""

    port: int
    answered: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    versions: list[tuple[str, str]] = field(default_factory=list)
    stopped: bool = False

    def client(self) -> None:
        good, bad = json.dumps(IMAGE), '{"inputs": [1, "2"]}'
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        for number in itertools.count():
            if self.stopped:
                break
            body = bad if number % 10 == 9 else good  # one bad request in ten
            try:
                connection.request("POST", "/invocations", body, {"content-type": "application/json"})
                reply = connection.getresponse()
                content = reply.read()
                if body is bad and reply.status == 400:
                    self.refused += 1
                elif reply.status == 200 and body is good:
                    self.answered += 1
                    self.versions.append((reply.headers["x-model-version"], content.decode()))
                else:
                    self.failed.append(f"{reply.status} {content!r}")
            except (OSError, http.client.HTTPException) as exc:
                self.failed.append(repr(exc))
                connection.close()
        connection.close()


def under_load(endpoint: RunningEndpoint, clients: int, work: Callable[[], None]) -> Load:
    load = Load(endpoint.port)
    threads = [threading.Thread(target=load.client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        load.stopped = True
        for thread in threads:
            thread.join()
    return load


def wait_until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def has_ended(pid: int) -> bool:
    """Return whether a process has ended. It may be a zombie, if it outlived the parent that would reap it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_killed_worker_fails_only_its_own_requests(serve: StartEndpoint, models: dict[str, Path]) -> None:
    endpoint = serve(models["pictures"], workers=2)
    first = endpoint.workers()
    clients = 4

    def kill() -> None:
        time.sleep(0.5)
        os.kill(first[0], signal.SIGKILL)
        wait_until(lambda: len(endpoint.workers()) == 2 and first[0] not in endpoint.workers())
        wait_until(lambda: "starting another" in endpoint.log.read_text())
        time.sleep(1.0)

    load = under_load(endpoint, clients, kill)
    assert len(load.failed) <= clients, load.failed  # one reset per connection of the killed worker
    assert load.answered > 20
    assert endpoint.stop() == 0


def test_sigterm_lets_open_requests_finish(serve: StartEndpoint, models: dict[str, Path]) -> None:
    endpoint = serve(models["pictures"])
    body = json.dumps(IMAGE).encode()
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=20)
    connection.putrequest("POST", "/invocations")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(len(body)))
    connection.endheaders(body[:20])
    time.sleep(0.3)
    worker = endpoint.workers()[0]
    endpoint.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    connection.send(body[20:])
    reply = connection.getresponse()
    assert reply.status == 200
    assert reply.headers["connection"] == "close"
    assert endpoint.process.wait(20) == 0
    assert has_ended(worker)


def test_workers_do_not_outlive_a_killed_supervisor(serve: StartEndpoint, models: dict[str, Path]) -> None:
    endpoint = serve(models["pictures"], workers=2)
    workers = endpoint.workers()
    endpoint.process.kill()
    endpoint.process.wait()
    wait_until(lambda: all(map(has_ended, workers)), 10)


FOLLOWER = """
import json, sys, time
for version, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    time.sleep(1.0)
    print(json.dumps({"name": "pictures", "version": version, "uri": "", "folder": folder}), flush=True)
time.sleep(60)
"""


def test_another_version_takes_over_without_a_failed_request(
    serve: StartEndpoint, models: dict[str, Path], tmp_path: Path
) -> None:
    """Two versions that answer differently alternate under load; a broken version in between is refused."""
    import numpy as np

    broken = tmp_path / "broken"
    shutil.copytree(models["pictures"], broken)
    (broken / "artifacts" / "model" / "model.onnx").write_bytes(b"no model")
    other = tmp_path / "other"
    shutil.copytree(models["pictures"], other)
    scoring = (other / "scoring.py").read_text()
    assert "return self._run(" in scoring
    (other / "scoring.py").write_text(scoring.replace("return self._run(", "return 1 - self._run("))
    script = tmp_path / "follower.py"
    script.write_text(FOLLOWER)
    follow = (
        sys.executable,
        str(script),
        "2",
        str(other),
        "3",
        str(broken),
        "4",
        str(models["pictures"]),
        "5",
        str(other),
    )
    endpoint = serve(models["pictures"], workers=2, follow=follow, trial_s=1.0)
    load = under_load(
        endpoint,
        6,
        lambda: wait_until(lambda: "version 5 has passed its trial" in endpoint.log.read_text(), 60),
    )
    assert load.failed == []
    assert load.refused > 0
    assert {version for version, _ in load.versions} >= {"1", "2", "4"}
    by_version: dict[str, set[str]] = {}
    for version, content in load.versions:
        by_version.setdefault(version, set()).add(content)
    assert all(
        len(contents) == 1 for contents in by_version.values()
    )  # each answer comes from the version that its header names
    original, inverted = (np.array(json.loads(*by_version[version])["predictions"]) for version in ("1", "2"))
    assert np.allclose(inverted, 1 - original, atol=1e-6)
    assert by_version["4"] == by_version["1"]
    assert "version 3 cannot be served, version 2 stays" in endpoint.log.read_text()
    wait_until(lambda: len(endpoint.workers()) == 2)
    assert endpoint.post(IMAGE).headers["x-model-version"] == "5"
    endpoint.stop()


def test_keys_are_required_and_rotated(serve: StartEndpoint, models: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    first = keys.create_key(file, "anna").secret
    assert first not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    endpoint = serve(models["pictures"], key_file=str(file))

    def status(secret: str, path: str = "/invocations") -> int:
        body = json.dumps(IMAGE) if path == "/invocations" else None
        return endpoint.request(
            path, body=body, authorization=f"Bearer {secret}", content_type="application/json"
        ).status

    refused = endpoint.post(IMAGE)
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert endpoint.request("/").headers["www-authenticate"].startswith("Basic")
    assert [endpoint.request(path).status for path in ("/ping", "/health")] == [200, 200]
    assert [endpoint.request(path).status for path in ("/metrics", "/", "/model", "/version")] == [401] * 4
    assert status(first) == 200
    assert status("mlk_wrong") == 401
    assert endpoint.request("/model", authorization="Basic nonsense").status == 401
    basic = base64.b64encode(f"x:{first}".encode()).decode()
    assert endpoint.request("/model", authorization=f"Basic {basic}").status == 200
    second = keys.create_key(file, "berta").secret
    keys.revoke_key(file, "anna")
    time.sleep(0.7)
    assert (status(first), status(second)) == (401, 200)
    file.write_text("rubbish\n")
    time.sleep(0.7)
    assert status(second) == 200
    endpoint.stop()
    log = endpoint.log.read_text()
    assert '"key":"berta"' in log
    assert first not in log
    assert second not in log


def test_metrics_are_summed_over_workers(serve: StartEndpoint, models: dict[str, Path]) -> None:
    endpoint = serve(models["pictures"], workers=2)
    for _ in range(30):
        assert endpoint.post(IMAGE).status == 200
    endpoint.post({"inputs": [1]})
    text = endpoint.request("/metrics").body.decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['mlctl_requests_total{route="/invocations",status="200"}']) == 30
    assert float(values['mlctl_errors_total{code="BAD_REQUEST"}']) == 1
    assert float(values['mlctl_request_seconds_count{route="/invocations"}']) == 31
    assert float(values['mlctl_model_info{model="pictures",version="1"}']) == 1
    endpoint.stop()


def test_a_request_id_is_in_the_answer_and_the_log(serve: StartEndpoint, models: dict[str, Path]) -> None:
    endpoint = serve(models["pictures"])
    assert endpoint.request("/ping", x_request_id="mine-7").headers["x-request-id"] == "mine-7"
    assert endpoint.request("/ping", x_request_id="bad id!").headers["x-request-id"] != "bad id!"
    endpoint.stop()
    lines = [json.loads(line) for line in endpoint.log.read_text().splitlines() if line.startswith("{")]
    assert lines[0]["id"] == "mine-7"
    assert lines[0] | {"status": 200, "path": "/ping", "method": "GET"} == lines[0]


def test_an_unknown_host_is_refused(serve: StartEndpoint, models: dict[str, Path]) -> None:
    endpoint = serve(models["pictures"], hosts=("localhost", "127.0.0.1"))
    assert endpoint.request("/model", host="evil.example").status == 403
    assert endpoint.request("/ping", host="evil.example").status == 200
    assert endpoint.request("/model", host="localhost:8000").status == 200
    endpoint.stop()


def test_a_models_traceback_goes_to_the_log(
    serve: StartEndpoint, models: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "failing"
    shutil.copytree(models["pictures"], folder)
    scoring = (folder / "scoring.py").read_text()
    (folder / "scoring.py").write_text(
        scoring.replace(
            "        return self._run(",
            "        if raw.max() == 99: raise KeyError('secret')\n        return self._run(",
        )
    )
    endpoint = serve(folder)
    reply = endpoint.post({"inputs": [[[99] * 8] * 8]})
    assert reply.status == 500
    assert reply.headers["x-request-id"] in reply.json["message"]
    assert b"secret" not in reply.body
    assert endpoint.post(IMAGE).status == 200
    endpoint.stop()
    log = endpoint.log.read_text()
    assert "KeyError: 'secret'" in log
    assert reply.headers["x-request-id"] in log


def test_a_model_that_cannot_be_loaded_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(models["pictures"], broken)
    (broken / "artifacts" / "model" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(AssertionError, match="error"):
        start_endpoint(broken, tmp_path / "endpoint")


def mlctl(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlctl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


def test_the_command_serves_detached_and_refuses_conflicts(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLCTL_STATE_DIR", str(tmp_path / "state"))
    folder = models["pictures"]
    # it returns only if the endpoint holds none of its streams
    done = mlctl("serve", folder, "--port", 0, "--detach", "-o", "json")
    assert done.returncode == 0, done.stderr
    endpoint = json.loads(done.stdout)
    assert {"name", "url", "pid", "log", "status", "model_uri", "version"} <= endpoint.keys()
    port = endpoint["url"].rpartition(":")[2]
    try:
        taken = mlctl("serve", folder, "--port", port, "--detach", "--name", "other")
        assert (taken.returncode, taken.stderr.count("\n")) == (4, 2)
        assert f"in use: the endpoint {endpoint['name']!r} serves" in taken.stderr
        served = mlctl("serve", folder, "--port", port)
        assert (served.returncode, "already running" in served.stderr) == (4, True)
        again = mlctl("serve", folder, "--port", 0, "--detach")
        assert again.returncode == 4
        assert endpoint["url"] in again.stderr
        endpoints = json.loads(mlctl("endpoints", "list", "-o", "json").stdout)
        assert [listed["status"] for listed in endpoints] == ["ready"]
        assert "serving pictures" in mlctl("endpoints", "logs", endpoint["name"]).stdout
    finally:
        stopped = mlctl("endpoints", "stop", endpoint["name"], "-o", "json")
    assert json.loads(stopped.stdout)["how"] == "gracefully"
    assert has_ended(endpoint["pid"])
    assert json.loads(mlctl("endpoints", "list", "-o", "json").stdout) == []
    assert mlctl("endpoints", "stop", "nothing").returncode == 3
    open_to_all = mlctl("serve", folder, "--host", "0.0.0.0", "--port", 0, "--detach")
    assert (open_to_all.returncode, "--api-key-file" in open_to_all.stderr) == (4, True)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "artifacts" / "model" / "model.onnx").write_bytes(b"no model")
    failed = mlctl("serve", broken, "--port", 0, "--detach")
    assert (failed.returncode, "cannot be served" in failed.stderr) == (7, True)
    assert "Traceback" not in failed.stderr


@pytest.mark.needs("openssl")
def test_tls(models: dict[str, Path], tmp_path: Path, serve: StartEndpoint) -> None:
    import ssl
    import urllib.request

    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            certificate,
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )
    endpoint = serve(models["pictures"], tls_cert=str(certificate), tls_key=str(key))
    context = ssl.create_default_context(cafile=str(certificate))
    with urllib.request.urlopen(f"https://127.0.0.1:{endpoint.port}/health", context=context) as reply:
        assert reply.status == 200
    endpoint.stop()


def test_a_missing_model_is_named_before_a_port_in_use(tmp_path: Path) -> None:
    settings = load({"tracking_uri": f"sqlite:///{tmp_path}/none.db"})
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        options = EndpointOptions(model="Nope", port=listener.getsockname()[1])
        with pytest.raises(NotFoundError, match="there is no model, run or folder 'Nope'"):
            serve(settings, options)
