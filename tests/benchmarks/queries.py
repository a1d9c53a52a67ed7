"""Ten queries on 20,000 runs with 1,000,000 metric points, beside stock: times and memory.

    python -m tests.benchmarks.queries --folder ~/scratch/queries

The first call builds the store in that folder, which takes a minute; later calls use it again. Four queries are
commands, beside the same query with MLflow's client in a program of its own. Six are requests of MLflow's pages to a
server of four workers, `mlctl server-up` beside `mlflow server`, in turns. A ratio below 1 means that mlctl needs
less.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.benchmarks.experiments_list import mlctl_server, stock_server

RUNS, EXPERIMENTS, POINTS = 20_000, 20, 50  # 50 points a run: 1,000,000
METRICS = ("loss", "val_loss", "accuracy", "val_accuracy", "val_f1")
API = "/ajax-api/2.0/mlflow/"
CLIENT = "import sys; from mlflow import MlflowClient; client = MlflowClient(sys.argv[1]); "
ALL = "[e.experiment_id for e in client.search_experiments()]"
COMMANDS: dict[str, tuple[list[str], str]] = {
    "list the newest 20 runs": (["runs", "list"], f"client.search_runs({ALL}, max_results=20)"),
    "runs whose score is above a value": (
        ["runs", "list", "--where", "val_f1 > 0.999", "--limit", "100"],
        f"client.search_runs({ALL}, 'metrics.val_f1 > 0.999', max_results=100)",
    ),
    "the best 20 of all": (
        ["runs", "list", "--sort", "-val_f1"],
        f"client.search_runs({ALL}, order_by=['metrics.val_f1 DESC'], max_results=20)",
    ),
    "list experiments with their numbers of runs": (
        ["experiments", "list"],
        f"ids = {ALL}; token = None\nwhile True:\n page = client.search_runs(ids, max_results=10000, page_token=token)"
        "\n token = page.token\n if not token: break",
    ),
}


def build(folder: Path, runs: int = RUNS) -> Path:
    """Make the store, unless the folder has it; return its file."""
    file = folder / ("queries.db" if runs == RUNS else f"queries-{runs}.db")
    if file.exists():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    subprocess.run(
        [sys.executable, "-c", f"{CLIENT}client.search_experiments()", f"sqlite:///{part}"], check=True
    )
    draw = random.Random(0)
    with contextlib.closing(sqlite3.connect(part)) as database, database:
        database.executemany(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time,"
            " last_update_time, workspace) VALUES (?, ?, ?, 'active', 1, 1, 'default')",
            [(n, f"experiment {n}", f"mlflow-artifacts:/{n}") for n in range(1, EXPERIMENTS + 1)],
        )
        for number in range(runs):
            run_id, start = uuid.UUID(int=draw.getrandbits(128)).hex, 1_700_000_000_000 + number * 1000
            experiment = number % EXPERIMENTS + 1
            database.execute(
                "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status,"
                " start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
                " VALUES (?, ?, 'UNKNOWN', '', '', 'ada', 'FINISHED', ?, ?, '', 'active', ?, ?)",
                (
                    run_id,
                    f"run-{number}",
                    start,
                    start + 900,
                    f"mlflow-artifacts:/{experiment}/{run_id}",
                    experiment,
                ),
            )
            steps = POINTS // len(METRICS)
            points = [
                (name, draw.random(), start + step, run_id, step) for name in METRICS for step in range(steps)
            ]
            database.executemany(
                "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)",
                points,
            )
            database.executemany(
                "INSERT INTO latest_metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)",
                [point for point in points if point[4] == steps - 1],
            )
            database.executemany(
                "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
                [(f"param{n}", str(draw.randrange(1000)), run_id) for n in range(8)],
            )
            database.executemany(
                "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
                [("mlflow.runName", f"run-{number}", run_id), ("team", f"team{number % 7}", run_id)],
            )
        database.execute("ANALYZE")
    part.rename(file)
    return file


def queries(file: Path) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Return (method, path, body) of the requests of MLflow's pages."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        ids = [
            row[0] for row in database.execute("SELECT run_uuid FROM runs WHERE experiment_id = 7 LIMIT 100")
        ]
    every = [str(n) for n in range(1, EXPERIMENTS + 1)]
    return {
        "page: the newest 100 runs of an experiment": (
            *("POST", "runs/search"),
            {"experiment_ids": ["7"], "max_results": 100, "order_by": ["attributes.start_time DESC"]},
        ),
        "page: runs of an experiment sorted by a metric": (
            *("POST", "runs/search"),
            {"experiment_ids": ["7"], "max_results": 100, "order_by": ["metrics.`val_f1` DESC"]},
        ),
        "page: a filter on metric, parameter and tag": (
            *("POST", "runs/search"),
            {
                "experiment_ids": every,
                "filter": "metrics.val_loss < 0.2 and params.param3 = '7' and tags.team = 'team3'",
                "max_results": 100,
            },
        ),
        "page: the chart of a metric of 100 runs": (
            *("GET", "metrics/get-history-bulk-interval"),
            {"run_ids": ids, "metric_key": "val_loss", "max_results": 320},
        ),
        "page: the history of a metric of a run": (
            *("GET", "metrics/get-history"),
            {"run_id": ids[0], "metric_key": "val_loss"},
        ),
        "page: the list of experiments": (
            *("POST", "experiments/search"),
            {"max_results": 100, "order_by": ["last_update_time DESC"]},
        ),
    }


def ask(session: requests.Session, url: str, query: tuple[str, str, dict[str, Any]]) -> float:
    """Return the seconds of one request."""
    method, path, body = query
    content = {"params": body} if method == "GET" else {"json": body}
    for attempt in range(2):
        started = time.perf_counter()
        try:
            session.request(method, url + API + path, timeout=300, **content).raise_for_status()
        except requests.ConnectionError:  # stock closes a connection that was idle for five seconds
            if attempt:
                raise
        else:
            break
    return time.perf_counter() - started


def run(command: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Return (seconds, peak memory in MB) of a command."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(errors.decode())
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def pss_mb(file: Path) -> float:
    """Return the memory of the processes that work in the folder of this file."""
    total = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.cwd() == str(file.parent):
                total += process.memory_full_info().pss
    return total / 1e6


@contextlib.contextmanager
def both_servers(ours: Path, stock: Path) -> Iterator[dict[str, str]]:
    with mlctl_server(ours) as our_url, stock_server(stock) as stock_url:
        yield {"mlctl": our_url, "stock": stock_url}


def show(name: str, ours: float, stock: float, our_mb: float, stock_mb: float) -> None:
    """Print a row of the table."""
    print(
        f"| {name} | {ours:.0f} | {stock:.0f} | {ours / stock:.2f} | {our_mb:.0f} | {stock_mb:.0f}"
        f" | {our_mb / stock_mb:.2f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the store is, or is built (700 MB)")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    folder = arguments.folder.expanduser().resolve()
    file = build(folder)
    print("| query | mlctl ms | stock ms | ratio | mlctl MB | stock MB | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    env = {**os.environ, "MLCTL_STATE_DIR": str(folder / "state"), "MLFLOW_TRACKING_URI": f"sqlite:///{file}"}
    for name, (command, program) in COMMANDS.items():
        found = {}
        for kind, words in (
            ("mlctl", [sys.executable, "-m", "mlctl", *command, "-o", "json"]),
            ("stock", [sys.executable, "-c", CLIENT + program, f"sqlite:///{file}"]),
        ):
            results = [run(words, env) for _ in range(max(2, arguments.rounds // 2))]
            found[kind] = (min(seconds for seconds, _ in results), min(memory for _, memory in results))
        (our_s, our_mb), (stock_s, stock_mb) = found["mlctl"], found["stock"]
        show(name, our_s * 1000, stock_s * 1000, our_mb, stock_mb)
    folders = {kind: folder / kind for kind in ("mlctl", "stock")}
    files = {}
    for kind, place in folders.items():
        place.mkdir(exist_ok=True)
        files[kind] = place / "queries.db"
        files[kind].unlink(missing_ok=True)
        subprocess.run(["cp", "--reflink=auto", file, files[kind]], check=True)
    with both_servers(files["mlctl"], files["stock"]) as urls:
        sessions = {kind: requests.Session() for kind in urls}
        memory: dict[str, float] = {}
        times: dict[str, dict[str, list[float]]] = {}
        asked = queries(file)
        for name, query in asked.items():
            times[name] = {kind: [] for kind in urls}
            for number in range(arguments.rounds + 8):
                for kind, url in urls.items():
                    seconds = ask(sessions[kind], url, query)
                    if number >= 8:  # by then each worker has answered
                        times[name][kind].append(seconds)
        for kind in urls:
            memory[kind] = pss_mb(files[kind])
        for name in asked:
            medians = [statistics.median(times[name][kind]) * 1000 for kind in ("mlctl", "stock")]
            show(name, medians[0], medians[1], memory["mlctl"], memory["stock"])


if __name__ == "__main__":
    main()
