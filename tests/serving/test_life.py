"""What keeps an endpoint alive, and who is let in: against real processes."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import shutil
import signal
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

from mlctl.services.serving import keys

from .conftest import Serve, Served, start

PICTURE = {"inputs": [[[7] * 8 for _ in range(8)]]}


@dataclass
class Load:
    """Clients that ask without a pause over connections they keep, and count what comes back."""

    port: int
    answered: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    versions: list[tuple[str, str]] = field(default_factory=list)
    going: bool = True

    def client(self) -> None:
        good, bad = json.dumps(PICTURE), '{"inputs": [1, "2"]}'
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        for number in itertools.count():
            if not self.going:
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


def under_load(served: Served, clients: int, work: Callable[[], None]) -> Load:
    load = Load(served.port)
    threads = [threading.Thread(target=load.client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        load.going = False
        for thread in threads:
            thread.join()
    return load


def until(holds: Callable[[], Any], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Whether a process has ended; nobody may be there to reap what outlived its parent."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_killed_worker_costs_only_what_it_was_answering(serve: Serve, models: dict[str, Path]) -> None:
    served = serve(models["pictures"], workers=2)
    first = served.workers()
    clients = 4

    def kill() -> None:
        time.sleep(0.5)
        os.kill(first[0], signal.SIGKILL)
        until(lambda: len(served.workers()) == 2 and first[0] not in served.workers())
        until(lambda: "takes its place" in served.log.read_text())
        time.sleep(1.0)

    load = under_load(served, clients, kill)
    assert len(load.failed) <= clients, load.failed  # one reset a connection that the worker held
    assert load.answered > 20
    assert served.stop() == 0


def test_sigterm_answers_what_was_asked(serve: Serve, models: dict[str, Path]) -> None:
    served = serve(models["pictures"])
    body = json.dumps(PICTURE).encode()
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.putrequest("POST", "/invocations")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(len(body)))
    connection.endheaders(body[:20])
    time.sleep(0.3)
    worker = served.workers()[0]
    served.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    connection.send(body[20:])
    reply = connection.getresponse()
    assert reply.status == 200
    assert reply.headers["connection"] == "close"
    assert served.process.wait(20) == 0
    assert gone(worker)


def test_workers_do_not_outlive_a_killed_supervisor(serve: Serve, models: dict[str, Path]) -> None:
    served = serve(models["pictures"], workers=2)
    workers = served.workers()
    served.process.kill()
    served.process.wait()
    until(lambda: all(map(gone, workers)), 10)


FOLLOWER = """
import json, sys, time
for version, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    time.sleep(1.0)
    print(json.dumps({"name": "pictures", "version": version, "uri": "", "folder": folder}), flush=True)
time.sleep(60)
"""


def test_another_version_takes_over_without_a_failed_request(
    serve: Serve, models: dict[str, Path], tmp_path: Path
) -> None:
    """Two versions that answer differently alternate under load, and a broken one between them is refused."""
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
        sys.executable, str(script),
        "2", str(other), "3", str(broken), "4", str(models["pictures"]), "5", str(other),
    )  # fmt: skip
    served = serve(models["pictures"], workers=2, follow=follow)
    load = under_load(
        served, 6, lambda: until(lambda: "serving version 5" in served.log.read_text(), 60)
    )  # fmt: skip
    assert load.failed == []
    assert load.refused > 0
    assert {version for version, _ in load.versions} >= {"1", "2", "4"}
    by_version: dict[str, set[str]] = {}
    for version, content in load.versions:
        by_version.setdefault(version, set()).add(content)
    assert all(len(contents) == 1 for contents in by_version.values())  # each answer is its version's
    plain, turned = (np.array(json.loads(*by_version[one])["predictions"]) for one in ("1", "2"))
    assert np.allclose(turned, 1 - plain, atol=1e-6)
    assert by_version["4"] == by_version["1"]
    assert "version 3 is refused, version 2 stays" in served.log.read_text()
    until(lambda: len(served.workers()) == 2)
    assert served.send(PICTURE).headers["x-model-version"] == "5"
    served.stop()


def test_keys_are_asked_for_and_rotated(serve: Serve, models: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    first = keys.new(file, "anna").secret
    assert first not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    served = serve(models["pictures"], key_file=str(file))

    def status(secret: str, path: str = "/invocations") -> int:
        body = json.dumps(PICTURE) if path == "/invocations" else None
        return served.ask(
            path, body=body, authorization=f"Bearer {secret}", content_type="application/json"
        ).status  # fmt: skip

    refused = served.send(PICTURE)
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert served.ask("/").headers["www-authenticate"].startswith("Basic")
    assert [served.ask(path).status for path in ("/ping", "/health")] == [200, 200]
    assert [served.ask(path).status for path in ("/metrics", "/", "/model", "/version")] == [401] * 4
    assert status(first) == 200
    assert status("mlk_wrong") == 401
    assert served.ask("/model", authorization="Basic nonsense").status == 401
    basic = base64.b64encode(f"x:{first}".encode()).decode()
    assert served.ask("/model", authorization=f"Basic {basic}").status == 200
    second = keys.new(file, "berta").secret
    keys.revoke(file, "anna")
    time.sleep(0.7)
    assert (status(first), status(second)) == (401, 200)
    file.write_text("rubbish\n")
    time.sleep(0.7)
    assert status(second) == 200
    served.stop()
    log = served.log.read_text()
    assert '"key":"berta"' in log
    assert first not in log
    assert second not in log


def test_metrics_are_summed_over_workers(serve: Serve, models: dict[str, Path]) -> None:
    served = serve(models["pictures"], workers=2)
    for _ in range(30):
        assert served.send(PICTURE).status == 200
    served.send({"inputs": [1]})
    text = served.ask("/metrics").body.decode()
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(found['mlctl_requests_total{route="/invocations",status="200"}']) == 30
    assert float(found['mlctl_errors_total{code="BAD_REQUEST"}']) == 1
    assert float(found['mlctl_request_seconds_count{route="/invocations"}']) == 31
    assert float(found['mlctl_model_info{model="pictures",version="1"}']) == 1
    served.stop()


def test_a_request_has_an_id_in_answer_and_log(serve: Serve, models: dict[str, Path]) -> None:
    served = serve(models["pictures"])
    assert served.ask("/ping", x_request_id="mine-7").headers["x-request-id"] == "mine-7"
    assert served.ask("/ping", x_request_id="bad id!").headers["x-request-id"] != "bad id!"
    served.stop()
    lines = [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]
    assert lines[0]["id"] == "mine-7"
    assert lines[0] | {"status": 200, "path": "/ping", "method": "GET"} == lines[0]


def test_another_sites_name_is_refused(serve: Serve, models: dict[str, Path]) -> None:
    served = serve(models["pictures"], hosts=("localhost", "127.0.0.1"))
    assert served.ask("/model", host="evil.example").status == 403
    assert served.ask("/ping", host="evil.example").status == 200
    assert served.ask("/model", host="localhost:8000").status == 200
    served.stop()


def test_a_model_that_fails_on_a_row_leaves_the_trace_in_the_log(
    serve: Serve, models: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "failing"
    shutil.copytree(models["pictures"], folder)
    scoring = (folder / "scoring.py").read_text()
    (folder / "scoring.py").write_text(
        scoring.replace("        return self._run(", "        if raw.max() == 99: raise KeyError('secret')\n        return self._run(")
    )  # fmt: skip
    served = serve(folder)
    reply = served.send({"inputs": [[[99] * 8] * 8]})
    assert reply.status == 500
    assert reply.headers["x-request-id"] in reply.json["message"]
    assert b"secret" not in reply.body
    assert served.send(PICTURE).status == 200
    served.stop()
    log = served.log.read_text()
    assert "KeyError: 'secret'" in log
    assert reply.headers["x-request-id"] in log


def test_a_model_that_cannot_be_loaded_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(models["pictures"], broken)
    (broken / "artifacts" / "model" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(AssertionError, match="error"):
        start(broken, tmp_path / "where")


def mlctl(*arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlctl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, **more)


def test_the_command_serves_detached_and_refuses_what_it_must(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLCTL_STATE_DIR", str(tmp_path / "state"))
    folder = models["pictures"]
    done = mlctl(
        "serve", folder, "--port", 0, "--detach", "-o", "json"
    )  # returns: it holds no stream of ours
    assert done.returncode == 0, done.stderr
    endpoint = json.loads(done.stdout)
    assert {"name", "url", "pid", "log", "status", "model_uri", "version"} <= endpoint.keys()
    port = endpoint["url"].rpartition(":")[2]
    try:
        taken = mlctl("serve", folder, "--port", port, "--detach", "--name", "other")
        assert (taken.returncode, taken.stderr.count("\n")) == (4, 2)
        assert "in use" in taken.stderr
        again = mlctl("serve", folder, "--port", 0, "--detach")
        assert again.returncode == 4
        assert endpoint["url"] in again.stderr
        assert [one["status"] for one in json.loads(mlctl("endpoints", "list", "-o", "json").stdout)] == [
            "ready"
        ]
        assert "serving pictures" in mlctl("endpoints", "logs", endpoint["name"]).stdout
    finally:
        stopped = mlctl("endpoints", "stop", endpoint["name"], "-o", "json")
    assert json.loads(stopped.stdout)["how"] == "gracefully"
    assert gone(endpoint["pid"])
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
def test_tls(models: dict[str, Path], tmp_path: Path, serve: Serve) -> None:
    import ssl
    import urllib.request

    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    served = serve(models["pictures"], tls_cert=str(certificate), tls_key=str(key))
    context = ssl.create_default_context(cafile=str(certificate))
    with urllib.request.urlopen(f"https://127.0.0.1:{served.port}/health", context=context) as reply:
        assert reply.status == 200
    served.stop()
