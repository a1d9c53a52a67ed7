"""A quick look says of a file and of a real MLflow server over the same file the same."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlctl.adapters.tracking import completion_lookup


@pytest.fixture(scope="module")
def server(thousand_runs: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        thousand_runs,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=log.parent, start_new_session=True)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its workers too; the store is only looked at
        process.wait(20)


def test_a_file_and_a_server_say_the_same(
    thousand_runs: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        completion_lookup, "READ_S", 30
    )  # what is said is the point here, on however slow a machine
    file, http = completion_lookup.opened(thousand_runs), completion_lookup.opened(server)
    for prefix in ("digits-095", "digits-001", "03e7f", "009", "no such"):
        assert list(http.runs(prefix)) == list(file.runs(prefix))
    assert list(http.runs("")) == list(file.runs(""))[: completion_lookup.NEWEST_OF_SERVER]
    assert file.runs("")[0] == ("03e7" + "f" * 28, "digits-0999", "digits")
    assert set(http.experiments()) == set(file.experiments()) >= {"digits", 'it\'s "odd": one'}
    assert list(http.models()) == list(file.models()) == ["churn", "wine-quality"]
    assert list(http.versions("wine-quality")) == list(file.versions("wine-quality"))
    assert [one.aliases for one in file.versions("wine-quality")] == [(), ("champion",), ()]
    file.close()
    http.close()


def test_looking_writes_nothing(thousand_runs: str) -> None:
    folder = Path(thousand_runs.removeprefix("sqlite:///")).parent
    before = {one.name: one.stat().st_mtime_ns for one in folder.iterdir()}
    store = completion_lookup.opened(thousand_runs)
    store.runs("")
    store.close()
    assert {one.name: one.stat().st_mtime_ns for one in folder.iterdir()} == before
