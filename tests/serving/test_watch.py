"""--watch: a promotion is served within seconds, whoever asks meanwhile, and the registry may be away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from .conftest import Served
from .test_life import PICTURE, mlctl, under_load, until


@pytest.fixture
def promoted(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Make a registry with two versions that answer differently, the first in Production."""
    uri = f"sqlite:///{tmp_path}/registry.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLCTL_STATE_DIR", str(tmp_path / "state"))
    other = tmp_path / "other"
    shutil.copytree(models["pictures"], other)
    scoring = (other / "scoring.py").read_text()
    (other / "scoring.py").write_text(scoring.replace("return self._run(", "return 1 - self._run("))
    client = MlflowClient(uri, registry_uri=uri)
    client.create_registered_model("Pictures")
    for folder in (models["pictures"], other):
        client.create_model_version("Pictures", source=str(folder))
    client.set_registered_model_alias("Pictures", "production", "1")
    return client


def test_a_promotion_takes_over(promoted: MlflowClient, tmp_path: Path) -> None:
    started = mlctl("serve", "Pictures", "--watch", "--port", 0, "--detach", "-o", "json")
    assert started.returncode == 0, started.stderr
    endpoint = json.loads(started.stdout)
    assert endpoint["version"] == "1"
    nobody = subprocess.Popen([sys.executable, "-c", ""])  # its place in Served is not used
    nobody.wait()
    port = int(endpoint["url"].rpartition(":")[2])
    served = Served(endpoint["url"], port, nobody, Path(endpoint["log"]))

    def version() -> str:
        return served.send(PICTURE).headers["x-model-version"]

    took: list[float] = []

    def promote() -> None:
        for number in ("2", "1"):
            promoted.set_registered_model_alias("Pictures", "production", number)
            begun = time.monotonic()
            until(lambda number=number: f"serving version {number} after" in served.log.read_text(), 60)
            took.append(time.monotonic() - begun)
            time.sleep(2.5)
            assert version() == number

    try:
        load = under_load(served, 4, promote)
        assert load.failed == []
        assert (
            len({content for _, content in load.versions})
            == len({number for number, _ in load.versions})
            == 2
        )
        assert took[1] < 5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # a busy machine is slower
        listed = json.loads(mlctl("endpoints", "list", "-o", "json").stdout)
        assert [one["version"] for one in listed] == ["1"]
        database = tmp_path / "registry.db"
        database.rename(tmp_path / "away.db")
        time.sleep(2.5)
        assert version() == "1"
        (tmp_path / "away.db").rename(database)
        promoted.set_registered_model_alias("Pictures", "production", "2")
        until(lambda: version() == "2", 60)
    finally:
        stopped = mlctl("endpoints", "stop", endpoint["name"])
    assert stopped.returncode == 0
