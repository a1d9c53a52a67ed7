"""What `mlctl runs list` costs beside the tracking store's own search, on 10,000 runs of 10 metrics.

    python tests/benchmarks/runs_list.py [RUNS]

Both sides read the same sqlite store in this process, in turns; the figure is the ratio of CPU seconds
(median of three). The store's own side is MlflowClient.search_runs with the same filter, order and limit, and
for what it cannot say (a parameter as a number), reading everything and comparing in Python.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow

from mlctl.adapters.tracking.store import silence_mlflow
from mlctl.output.show_answer import show
from mlctl.services.runs.listing import list_runs

METRICS = [f"metric_{i}" for i in range(8)] + ["best_val_f1", "test_accuracy"]


def fill(file: Path, runs: int, metrics: list[str] = METRICS) -> None:
    """Make a store with this many runs, by SQL: through the client it would take minutes."""
    client = mlflow.MlflowClient(f"sqlite:///{file}")
    experiment = int(client.create_experiment("bench"))
    chance = random.Random(0)
    now = int(time.time() * 1000)
    ids = [uuid.UUID(int=chance.getrandbits(128)).hex for _ in range(runs)]
    with sqlite3.connect(file) as store:
        store.executemany(
            "insert into runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status,"
            " start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
            " values (?, ?, 'UNKNOWN', '', '', 'ann', 'FINISHED', ?, ?, '', 'active', ?, ?)",
            [(key, f"run-{i}", now - i * 1000, now - i * 1000 + 500, f"/none/{key}", experiment)
             for i, key in enumerate(ids)],
        )  # fmt: skip
        store.executemany(
            "insert into latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
            " values (?, ?, ?, 10, 0, ?)",
            [(name, chance.random(), now, key) for key in ids for name in metrics],
        )
        choices = {
            "epochs": ("5", "10", "20"),
            "learning_rate": ("0.01", "1e-2", "0.001"),
            "units": ("32", "64"),
        }
        store.executemany(
            "insert into params (key, value, run_uuid) values (?, ?, ?)",
            [(name, chance.choice(values), key) for key in ids for name, values in choices.items()],
        )
        tags = {"mlctl.recipe": "imdb", "mlctl.objective": "max:val_f1", "mlctl.data": "imdb.npz"}
        store.executemany(
            "insert into tags (key, value, run_uuid) values (?, ?, ?)",
            [(name, value, key) for i, key in enumerate(ids)
             for name, value in {**tags, "mlflow.runName": f"run-{i}"}.items()],
        )  # fmt: skip


def cpu(call: Callable[[], Any]) -> float:
    """Return the CPU seconds that a call takes."""
    started = time.process_time()
    call()
    return time.process_time() - started


def main() -> None:
    """Print a line for each question: our seconds, the store's, and the ratio."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    silence_mlflow()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        uri = "sqlite:///mlflow.db"
        fill(Path("mlflow.db"), runs)
        client = mlflow.MlflowClient(uri)
        experiments = [one.experiment_id for one in client.search_experiments()]

        def own(limit: int = 0, filter_string: str = "", order_by: list[str] | None = None) -> list[Any]:
            found: list[Any] = []
            token = None
            while True:
                page = client.search_runs(
                    experiments,
                    filter_string,
                    max_results=min(limit or 1000, 1000),
                    order_by=order_by,
                    page_token=token,
                )
                found += page
                token = page.token
                if not token or (limit and len(found) >= limit):
                    return found

        def ours(**asked: Any) -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                show(list_runs(uri, **asked))

        numbers = "params.epochs = 10 and params.learning_rate <= 0.01"
        questions: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
            ("newest 20", lambda: ours(), lambda: own(20)),
            ("all", lambda: ours(limit=0), lambda: own()),
            (
                "metric filter and sort, first 20",
                lambda: ours(where="best_val_f1 > 0.5 and status = FINISHED", sort="-best_val_f1"),
                lambda: own(20, "metrics.best_val_f1 > 0.5 and attributes.status = 'FINISHED'",
                            ["metrics.best_val_f1 DESC"]),
            ),
            (
                "metric filter and sort, all",
                lambda: ours(where="best_val_f1 > 0.5", sort="-best_val_f1", limit=0),
                lambda: own(0, "metrics.best_val_f1 > 0.5", ["metrics.best_val_f1 DESC"]),
            ),
            (
                "parameters as numbers, all",
                lambda: ours(where=numbers, limit=0),
                lambda: [
                    run for run in own()
                    if float(run.data.params["epochs"]) == 10
                    and float(run.data.params["learning_rate"]) <= 0.01
                ],
            ),
            (
                "parameters as numbers, best 20",
                lambda: ours(where=numbers, sort="-best_val_f1"),
                lambda: own(20, "params.epochs = '10'", ["metrics.best_val_f1 DESC"]),
            ),
        ]  # fmt: skip
        print(f"{runs:,} runs of {len(METRICS)} metrics; CPU seconds, median of 3\n")
        print(f"{'':36} {'mlctl':>8} {'store':>8} {'ratio':>6}")
        for name, mine, its in questions:
            pairs = [(cpu(mine), cpu(its)) for _ in range(3)]
            a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
            print(f"{name:36} {a:8.2f} {b:8.2f} {a / b:6.2f}", flush=True)


if __name__ == "__main__":
    main()
