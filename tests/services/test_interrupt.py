"""Ctrl-C and SIGTERM stop a training within a second of its own work, keep all, and say how to go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts import eventually
from tests.training_run import client, kinds, only_run, record
from tests.zygote import Zygote

WITHIN_S = 1.0  # CPU seconds: a busy machine must not fail the test


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that exists, so that no test waits for its making."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    client(uri).search_experiments()
    return uri


@pytest.mark.parametrize(
    ("number", "moment", "options"),
    [
        (signal.SIGINT, lambda state: "params" in kinds(state), ["digits"]),
        (signal.SIGTERM, lambda state: "metrics" in kinds(state), ["digits"]),
        (signal.SIGINT, lambda state: "model" in kinds(state), ["digits", "--epochs", "2"]),
        (signal.SIGTERM, lambda state: "params" in kinds(state), ["mnist-mlp", "--data", "synthetic", "--rows", "60000"]),
    ],
    ids=["compiling", "an epoch", "logging", "a long epoch"],
)  # fmt: skip
def test_stops_at_once(
    zygote: Zygote, store: str, tmp_path: Path, number: int, moment: Callable[[Path], bool], options: list[str],
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    state, experiment = tmp_path / "state", tmp_path.name  # another one for a second try
    run = zygote.start(["train", *options, "--experiment", experiment], state, tmp_path / "log", store)
    eventually(lambda: moment(state) or run.poll() is not None, 120, 0.002)
    if request.node.callspec.id == "a long epoch":
        time.sleep(0.5)
    before = run.cpu_s
    run.send(number)
    assert run.wait() == 130, run.said
    assert run.cpu_s - before < WITHIN_S
    found = only_run(store, experiment)
    assert found.info.status == "KILLED"
    assert f"mlctl resume {found.info.run_id[:8]}" in run.said
    assert "Traceback" not in run.said
    assert record(state), "what is done is kept"


def test_the_second_does_not_wait_for_a_store_that_hangs(zygote: Zygote, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    state = tmp_path / "state"
    run = zygote.start(["train", "digits", "--epochs", "300"], state, tmp_path / "log", uri)
    eventually(lambda: kinds(state)["metrics"] >= 2, 120, 0.01)
    os.environ["SQLITE_TMPDIR"] = str(tmp_path)
    with _locked(tmp_path / "mlflow.db"):
        run.send(signal.SIGINT)
        eventually(lambda: kinds(state)["finish"] == 1, 20)
        assert run.poll() is None  # it tries to tell the store
        before = run.cpu_s
        run.send(signal.SIGINT)
        assert run.wait(20) == 130, run.said
        assert run.cpu_s - before < WITHIN_S
    assert "Traceback" not in run.said


@pytest.mark.parametrize("share", [0.15, 0.4, 0.65, 0.9])
def test_during_the_imports(tmp_path: Path, share: float) -> None:
    state = tmp_path / "state"
    process = subprocess.Popen(
        [sys.executable, "-m", "mlctl", "train", "digits"],
        env={**os.environ, "MLCTL_STATE_DIR": str(state), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"},
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    from tests.zygote import cpu_s

    eventually(lambda: cpu_s(process.pid) > share * 4.0 or record(state) is not None, 120, 0.01)
    before = cpu_s(process.pid)
    process.send_signal(signal.SIGINT)
    _, status, used = os.wait4(process.pid, 0)
    said = process.stdout.read() if process.stdout else ""
    assert os.waitstatus_to_exitcode(status) == 130, said
    assert (
        used.ru_utime + used.ru_stime - before < WITHIN_S + 0.5
    )  # one library's own start cannot be cut short
    assert "Traceback" not in said
    assert re.search("interrupted|stopped", said), said


class _locked:
    """Hold a sqlite file's write lock, as another program might."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> None:
        import sqlite3

        self.connection = sqlite3.connect(self.file, timeout=30, isolation_level=None)
        self.connection.execute("BEGIN EXCLUSIVE")

    def __exit__(self, *_: object) -> None:
        self.connection.rollback()
        self.connection.close()
