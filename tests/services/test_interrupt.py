"""Ctrl-C and SIGTERM stop a training at once, keep its record, and show how to resume."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.parts import eventually
from tests.training_run import client, kinds, only_run, record
from tests.zygote import Zygote

IMPORT_CPU_S = 4.0  # CPU time of the imports


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URI of a store that exists, so that no test waits for its creation."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    client(uri).search_experiments()
    return uri


@pytest.mark.parametrize(
    ("number", "has_reached", "options", "wait_s"),
    [
        pytest.param(signal.SIGINT, lambda state: "params" in kinds(state), ["digits"], 0, id="compiling"),
        pytest.param(signal.SIGTERM, lambda state: "metrics" in kinds(state), ["digits"], 0, id="an epoch"),
        pytest.param(
            signal.SIGINT, lambda state: "model" in kinds(state), ["digits", "--epochs", "2"], 0, id="logging"
        ),
        pytest.param(
            signal.SIGTERM,
            lambda state: "params" in kinds(state),
            # an epoch of 48,000 batches lasts far longer than it takes to send the signal
            ["mnist-mlp", "--data", "synthetic", "--rows", "60000", "--set", "batch_size=1"],
            0.5,
            id="a long epoch",
        ),
    ],
)
def test_a_signal_stops_a_training(
    zygote: Zygote,
    store: str,
    tmp_path: Path,
    number: int,
    has_reached: Callable[[Path], bool],
    options: list[str],
    wait_s: float,
) -> None:
    state, experiment = tmp_path / "state", tmp_path.name  # a retried test gets another experiment
    run = zygote.start(["train", *options, "--experiment", experiment], state, tmp_path / "log", store)
    eventually(lambda: has_reached(state) or run.poll() is not None, 120, 0.002)
    time.sleep(wait_s)
    epochs = kinds(state)["metrics"]
    run.send(number)
    assert run.wait() == 130, run.output
    assert kinds(state)["metrics"] <= epochs + (wait_s == 0)  # an epoch may end just before the signal
    stored = only_run(store, experiment)
    assert stored.info.status == "KILLED"
    assert f"mlctl resume {stored.info.run_id[:8]}" in run.output
    assert "Traceback" not in run.output
    assert record(state), "the record is kept"


def test_the_second_signal_does_not_wait_for_a_store_that_hangs(
    zygote: Zygote, tmp_path: Path, empty_store: Callable[[Path], str]
) -> None:
    uri = empty_store(tmp_path)
    state = tmp_path / "state"
    run = zygote.start(["train", "digits", "--epochs", "300"], state, tmp_path / "log", uri)
    eventually(lambda: kinds(state)["metrics"] >= 2, 120, 0.01)
    with _locked(tmp_path / "mlflow.db"):
        run.send(signal.SIGINT)
        eventually(lambda: kinds(state)["finish"] == 1, 20)
        assert run.poll() is None  # it is still sending to the store
        run.send(signal.SIGINT)
        assert run.wait(20) == 130, run.output
    assert "Traceback" not in run.output


@pytest.mark.parametrize("share", [0.15, 0.4, 0.65, 0.9])
def test_a_signal_during_the_imports(tmp_path: Path, share: float) -> None:
    state = tmp_path / "state"
    process = subprocess.Popen(
        [sys.executable, "-m", "mlctl", "train", "digits"],
        env={
            **os.environ,
            "MLCTL_STATE_DIR": str(state),
            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        },
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    spent = psutil.Process(process.pid).cpu_times
    eventually(lambda: sum(spent()[:2]) > share * IMPORT_CPU_S or record(state) is not None, 120, 0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert kinds(state)["metrics"] == 0, "it did not begin to train"
    assert "Traceback" not in output
    assert re.search("interrupted|stopped", output), output


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the write lock of an SQLite file, as another program might."""
    connection = sqlite3.connect(file, timeout=30, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()
