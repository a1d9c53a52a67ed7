"""An endpoint goes on answering when a promoted version crashes, its model's copy disappears, or calls never end."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from .conftest import StartEndpoint
from .test_lifecycle import FOLLOWER, IMAGE, under_load, wait_until

pytestmark = pytest.mark.live

RUN = "return self._run("
SLOW = {"inputs": [[[251] * 8] * 8] * 64}


def changed_copy(model: Path, target: Path, line: str) -> Path:
    """Copy a model and put a line before the one that answers."""
    shutil.copytree(model, target)
    scoring = (target / "scoring.py").read_text()
    assert RUN in scoring
    (target / "scoring.py").write_text(scoring.replace(RUN, f"{line}\n        {RUN}"))
    return target


def test_a_crashing_version_and_a_lost_copy_fail_no_request(
    serve: StartEndpoint, models: dict[str, Path], tmp_path: Path
) -> None:
    good = shutil.copytree(models["pictures"], tmp_path / "good")
    line = "self.asked = getattr(self, 'asked', 0) + 1; self.asked < 40 or __import__('os')._exit(9)"
    crashing = changed_copy(models["pictures"], tmp_path / "crashing", line)
    script = tmp_path / "follower.py"
    script.write_text(FOLLOWER)
    endpoint = serve(good, workers=2, follow=(sys.executable, str(script), "2", str(crashing)))
    load = under_load(
        endpoint, 4, lambda: wait_until(lambda: "version 2 cannot be served" in endpoint.log.read_text(), 60)
    )
    assert load.failed == []
    assert {version for version, _ in load.versions} == {"1", "2"}
    version = endpoint.request("/version").json
    assert version["version"] == "1"
    assert version["refused"]["version"] == "2"
    assert "exit code 9" in version["refused"]["reason"]
    wait_until(lambda: len(endpoint.workers()) == 2)
    shutil.rmtree(good)
    lost, kept = endpoint.workers()
    os.kill(lost, signal.SIGKILL)
    wait_until(lambda: "no worker can be started" in endpoint.log.read_text())
    assert endpoint.workers() == [kept]
    assert endpoint.post(IMAGE).status == 200
    assert endpoint.stop() == 0


def test_a_call_that_never_ends_costs_its_worker_and_no_other_request(
    serve: StartEndpoint, models: dict[str, Path], tmp_path: Path
) -> None:
    slow = changed_copy(
        models["pictures"], tmp_path / "slow", "if raw.min() == 251: __import__('time').sleep(60)"
    )
    endpoint = serve(slow, timeout_s=1.0)
    first = endpoint.workers()[0]
    statuses: list[int] = []
    calls = [threading.Thread(target=lambda: statuses.append(endpoint.post(SLOW).status)) for _ in range(8)]
    for call in calls:
        call.start()
    while any(call.is_alive() for call in calls):
        assert endpoint.request("/ping").status == 200
        time.sleep(0.05)
    assert statuses == [504] * 8
    assert endpoint.request("/ready").status == 200
    assert endpoint.post(IMAGE).status == 200
    wait_until(lambda: endpoint.workers() not in ([first], []) and first not in endpoint.workers(), 30)
    assert endpoint.post(IMAGE).status == 200
    assert f"worker {first} has calls that run longer than the timeout" in endpoint.log.read_text()
    assert endpoint.stop() == 0
