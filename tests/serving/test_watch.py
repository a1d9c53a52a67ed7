"""`mlctl serve --watch` serves a promoted version without a failed request, and survives the loss of the registry."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from .conftest import RunningEndpoint
from .test_lifecycle import IMAGE, mlctl, under_load, wait_until

pytestmark = pytest.mark.live


@pytest.fixture
def registry(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Return a registry with two versions that answer differently; the first is in Production."""
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


def test_a_promoted_version_takes_over(registry: MlflowClient, tmp_path: Path) -> None:
    started = mlctl("serve", "Pictures", "--watch", "--port", 0, "--detach", "-o", "json")
    assert started.returncode == 0, started.stderr
    answer = json.loads(started.stdout)
    assert answer["version"] == "1"
    unused_process = subprocess.Popen([sys.executable, "-c", ""])  # a RunningEndpoint has one
    unused_process.wait()
    port = int(answer["url"].rpartition(":")[2])
    endpoint = RunningEndpoint(answer["url"], port, unused_process, Path(answer["log"]))

    def version() -> str:
        return endpoint.post(IMAGE).headers["x-model-version"]

    def promote_twice() -> None:
        for number in ("2", "1"):
            registry.set_registered_model_alias("Pictures", "production", number)
            line = f"serving version {number} after"
            wait_until(lambda line=line: line in endpoint.log.read_text(), 60)
            time.sleep(2.5)
            assert version() == number

    try:
        load = under_load(endpoint, 4, promote_twice)
        assert load.failed == []
        assert (
            len({content for _, content in load.versions})
            == len({number for number, _ in load.versions})
            == 2
        )
        endpoints = json.loads(mlctl("endpoints", "list", "-o", "json").stdout)
        assert [listed["version"] for listed in endpoints] == ["1"]
        database = tmp_path / "registry.db"
        database.rename(tmp_path / "away.db")
        time.sleep(2.5)
        assert version() == "1"
        (tmp_path / "away.db").rename(database)
        registry.set_registered_model_alias("Pictures", "production", "2")
        wait_until(lambda: version() == "2", 60)
    finally:
        stopped = mlctl("endpoints", "stop", answer["name"])
    assert stopped.returncode == 0
