"""Compare the cost of `mlctl runs list` with the tracking store's own search, on 10,000 runs with 10 metrics.

    python tests/benchmarks/runs_list.py [RUNS]

Both read the same SQLite store in this process, in turns. The result is the ratio of their CPU seconds, each the
median of three. The store's search is MlflowClient.search_runs with the same filter, order and limit. It cannot
compare a parameter as a number, so there the comparison program reads all runs and filters them in Python.
"""

from __future__ import annotations

import contextlib
import functools
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
    """Fill a store with runs by SQL; the client would need minutes."""
    client = mlflow.MlflowClient(f"sqlite:///{file}")
    experiment = int(client.create_experiment("bench"))
    rng = random.Random(0)
    now = int(time.time() * 1000)
    ids = [uuid.UUID(int=rng.getrandbits(128)).hex for _ in range(runs)]
    with sqlite3.connect(file) as store:
        store.executemany(
            "insert into runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status,"
            " start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
            " values (?, ?, 'UNKNOWN', '', '', 'ann', 'FINISHED', ?, ?, '', 'active', ?, ?)",
            [(run_id, f"run-{i}", now - i * 1000, now - i * 1000 + 500, f"/none/{run_id}", experiment)
             for i, run_id in enumerate(ids)],
        )  # fmt: skip
        store.executemany(
            "insert into latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
            " values (?, ?, ?, 10, 0, ?)",
            [(name, rng.random(), now, run_id) for run_id in ids for name in metrics],
        )
        choices = {
            "epochs": ("5", "10", "20"),
            "learning_rate": ("0.01", "1e-2", "0.001"),
            "units": ("32", "64"),
        }
        store.executemany(
            "insert into params (key, value, run_uuid) values (?, ?, ?)",
            [(name, rng.choice(values), run_id) for run_id in ids for name, values in choices.items()],
        )
        tags = {"mlctl.recipe": "imdb", "mlctl.objective": "max:val_f1", "mlctl.data": "imdb.npz"}
        store.executemany(
            "insert into tags (key, value, run_uuid) values (?, ?, ?)",
            [(name, value, run_id) for i, run_id in enumerate(ids)
             for name, value in {**tags, "mlflow.runName": f"run-{i}"}.items()],
        )  # fmt: skip


def measure_cpu(call: Callable[[], Any]) -> float:
    """Return the CPU seconds of a call."""
    started = time.process_time()
    call()
    return time.process_time() - started


def main() -> None:
    """Print one line per query: the CPU seconds of mlctl and of the store, and the ratio."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    silence_mlflow()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        uri = "sqlite:///mlflow.db"
        fill(Path("mlflow.db"), runs)
        client = mlflow.MlflowClient(uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]

        def search(limit: int = 0, filter_string: str = "", order_by: list[str] | None = None) -> list[Any]:
            runs: list[Any] = []
            token = None
            while True:
                page = client.search_runs(
                    experiments,
                    filter_string,
                    max_results=min(limit or 1000, 1000),
                    order_by=order_by,
                    page_token=token,
                )
                runs += page
                token = page.token
                if not token or (limit and len(runs) >= limit):
                    return runs

        def search_numbers() -> list[Any]:
            return [
                run
                for run in search()
                if float(run.data.params["epochs"]) == 10 and float(run.data.params["learning_rate"]) <= 0.01
            ]

        def list_with_mlctl(**options: Any) -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                show(list_runs(uri, **options))

        numbers = "params.epochs = 10 and params.learning_rate <= 0.01"
        finished = "metrics.best_val_f1 > 0.5 and attributes.status = 'FINISHED'"
        best_first = ["metrics.best_val_f1 DESC"]
        queries: list[tuple[str, dict[str, Any], Callable[[], Any]]] = [
            ("newest 20", {}, lambda: search(20)),
            ("all", {"limit": 0}, search),
            (
                "metric filter and sort, first 20",
                {"where": "best_val_f1 > 0.5 and status = FINISHED", "sort": "-best_val_f1"},
                lambda: search(20, finished, best_first),
            ),
            (
                "metric filter and sort, all",
                {"where": "best_val_f1 > 0.5", "sort": "-best_val_f1", "limit": 0},
                lambda: search(0, "metrics.best_val_f1 > 0.5", best_first),
            ),
            ("parameters as numbers, all", {"where": numbers, "limit": 0}, search_numbers),
            (
                "parameters as numbers, best 20",
                {"where": numbers, "sort": "-best_val_f1"},
                lambda: search(20, "params.epochs = '10'", best_first),
            ),
        ]
        print(f"{runs:,} runs with {len(METRICS)} metrics; CPU seconds, median of 3\n")
        print(f"{'':36} {'mlctl':>8} {'store':>8} {'ratio':>6}")
        for name, options, search_store in queries:
            mlctl_times, store_times = [], []
            for _ in range(3):
                mlctl_times.append(measure_cpu(functools.partial(list_with_mlctl, **options)))
                store_times.append(measure_cpu(search_store))
            mlctl, store = statistics.median(mlctl_times), statistics.median(store_times)
            print(f"{name:36} {mlctl:8.2f} {store:8.2f} {mlctl / store:6.2f}", flush=True)


if __name__ == "__main__":
    main()
