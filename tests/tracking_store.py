"""Tracking stores with runs as `mlctl train` writes them, for tests that read runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import new_schema
from tests.mlflow_server import running
from tests.shared import make_once

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Answer:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


def log_run(
    client: Any,
    experiment_id: str,
    name: str,
    values: list[float],
    *,
    hours_ago: float,
    status: str | None = "FINISHED",
    objective: str = "max:val_f1",
    source: str = "bundled",
    epochs: str = "10",
    learning_rate: str = "0.01",
    test_accuracy: float | None = None,
) -> str:
    """Log a run with these `val_f1` values, one per epoch; return its id. With status None it keeps running."""
    from mlflow.entities import Metric, Param

    started = int(time.time() * 1000 - hours_ago * HOUR_MS)
    tags = {
        "mlctl.recipe": "toy",
        "mlctl.objective": objective,
        "mlctl.data": source,
        "mlctl.data.name": "toy",
        "mlctl.data.sha256": hashlib.sha256(source.encode()).hexdigest(),
        "mlctl.data.rows": "1797",
        "mlctl.data.size_bytes": "123456",
        "mlctl.data.splits": json.dumps({"train": 1000, "validation": 300, "test": 497}),
        "mlctl.data.seed": "7",
        "mlctl.version.keras": "3.15.1",
        "mlctl.git.commit": "c0ffee",
        "mlctl.duration_s": "12.5",
        "owner": "Ann",
    }
    run = client.create_run(experiment_id, start_time=started, run_name=name, tags=tags)
    best = max(range(len(values)), key=values.__getitem__)
    metrics = [Metric("val_f1", value, started, epoch) for epoch, value in enumerate(values, 1)]
    metrics += [Metric("val_loss", 1 / epoch, started, epoch) for epoch in range(1, len(values) + 1)]
    if status == "FINISHED":
        metrics += [
            Metric("best_epoch", best + 1, started, 0),
            Metric("best_val_f1", values[best], started, 0),
        ]
        metrics += [Metric("test_accuracy", test_accuracy or values[best], started, 0)]
    params = [Param("epochs", epochs), Param("learning_rate", learning_rate), Param("optimizer", "Adam")]
    client.log_batch(run.info.run_id, metrics, params)
    if status:
        client.set_terminated(run.info.run_id, status, end_time=started + 12_500)
    return str(run.info.run_id)


def schema_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the new store that all workers copy."""
    top = tmp_path_factory.getbasetemp()
    return (top.parent if "PYTEST_XDIST_WORKER" in os.environ else top) / "new-schema.db"


@pytest.fixture(autouse=True)
def _copied_schema(tmp_path_factory: pytest.TempPathFactory) -> None:
    new_schema.use_copies(schema_template(tmp_path_factory))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Return a function that puts a store without any rows into a folder and returns its URI.

    A process that starts later, and would create the same tables, finds them.
    """

    def create(folder: Path) -> str:
        new_schema.create_empty(folder, schema_template(tmp_path_factory))
        return f"sqlite:///{folder}/mlflow.db"

    return create


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with mlflow.db: nine runs in two experiments. Tests that change it use `own_store`."""
    template, _ = make_once(tmp_path_factory, "filled", fill)
    folder = tmp_path_factory.mktemp("filled")
    shutil.copy(template / "mlflow.db", folder)
    return folder


def fill(folder: Path) -> None:
    """Create a store in this folder and log the runs."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    toy = client.create_experiment("toy", artifact_location=str(folder / "artifacts"))
    other = client.create_experiment("other")
    first = log_run(client, toy, "peak", [0.7, 0.9, 0.8], hours_ago=9)  # the last value is not the best
    client.log_text(first, "epoch,val_f1\n1,0.7\n", "history.csv")
    client.log_text(first, "a plot", "plots/loss.txt")
    log_run(client, toy, "steady", [0.7, 0.8, 0.85], hours_ago=8, learning_rate="1e-2", epochs="20")
    log_run(client, toy, "twin", [0.5, 0.6], hours_ago=7, learning_rate="0.001")
    log_run(client, toy, "twin", [0.5, 0.7], hours_ago=6, learning_rate="0.1")
    log_run(client, toy, "stand-in", [0.99, 0.995], hours_ago=5, source="synthetic")
    log_run(client, toy, "broken", [0.97], hours_ago=4, status="FAILED")
    log_run(client, toy, "nan", [0.4, float("nan")], hours_ago=3)
    log_run(client, other, "lossy", [3.0, 2.0], hours_ago=2, objective="min:val_loss")
    stock = client.create_run(other, run_name="stock", start_time=int(time.time() * 1000) - HOUR_MS)
    client.log_metric(stock.info.run_id, "accuracy", 0.5, step=0)
    client.log_metric(stock.info.run_id, "accuracy", 0.6, step=1)


@pytest.fixture
def store(filled: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the filled store as the tracking URI and return it. Tests only read it."""
    uri = f"sqlite:///{filled}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture
def own_store(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set a copy of the filled store, which the test may change, as the tracking URI and return it."""
    shutil.copy(filled / "mlflow.db", tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture(scope="session")
def server(filled: Path) -> Iterator[str]:
    """Return the URL of a real `mlflow server` with the filled store."""
    with running(filled, f"sqlite:///{filled}/mlflow.db") as server:
        yield server.uri


@pytest.fixture
def mlctl(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Return a function that runs commands in this process, to save the imports."""
    from mlctl.cli.app import run

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call
