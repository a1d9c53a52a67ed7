"""List 200 experiments of a store with many runs: `mlctl server-up` beside `mlflow server`, in turns.

    python -m tests.benchmarks.experiments_list --runs 20000

Prints the median time of each in milliseconds, and the ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from tests.parts import eventually, free_port
from tests.store import make_store

EXPERIMENTS, ROUNDS = 200, 60


def fill(folder: Path, runs: int) -> Path:
    """Make a store with 200 experiments, over which the runs are spread."""
    uri = make_store(folder, runs)
    file = Path(uri.removeprefix("sqlite:///"))
    with sqlite3.connect(file) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(experiments)")]
        (values,) = database.execute("SELECT * FROM experiments WHERE name = 'digits'")
        first = dict(zip(columns, values, strict=True))
        rows = [{**first, "experiment_id": 1000 + n, "name": f"experiment {n}"} for n in range(EXPERIMENTS)]
        marks = ", ".join(f":{column}" for column in columns)
        database.executemany(f"INSERT INTO experiments ({', '.join(columns)}) VALUES ({marks})", rows)
        database.execute(f"UPDATE runs SET experiment_id = 1000 + rowid % {EXPERIMENTS}")
    return file


@contextlib.contextmanager
def mlctl_server(file: Path) -> Iterator[str]:
    """Run `mlctl server-up` on a database."""
    env = {**os.environ, "MLCTL_STATE_DIR": str(file.parent / "state")}
    up = ["mlctl", "server-up", "--port", "0", "--backend", f"sqlite:///{file}", "-o", "json"]
    answer = subprocess.run(up, cwd=file.parent, env=env, capture_output=True, check=True)
    try:
        yield json.loads(answer.stdout)["url"]
    finally:
        subprocess.run(["mlctl", "server-down"], env=env, capture_output=True, check=False)


@contextlib.contextmanager
def stock_server(file: Path) -> Iterator[str]:
    """Run `mlflow server` on a database."""
    port = free_port()
    command = ["mlflow", "server", "--port", str(port), "--backend-store-uri", f"sqlite:///{file}"]
    process = subprocess.Popen(command, cwd=file.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _is_up(url), timeout_s=600, interval_s=0.3)
        yield url
    finally:
        process.terminate()
        process.wait()


def _is_up(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False


def seconds(session: requests.Session, url: str) -> float:
    """Return how long one listing takes."""
    started = time.perf_counter()
    body = {"max_results": EXPERIMENTS}
    session.post(f"{url}/api/2.0/mlflow/experiments/search", json=body, timeout=60).raise_for_status()
    return time.perf_counter() - started


def main() -> int:
    """Measure both in turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20_000)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, name) for name in ("ours", "stock")]
        for folder in folders:
            folder.mkdir()
        ours = fill(folders[0], runs)
        stock = Path(shutil.copy(ours, folders[1]))
        with mlctl_server(ours) as our_url, stock_server(stock) as stock_url:
            sessions = {our_url: requests.Session(), stock_url: requests.Session()}
            for url, session in sessions.items():
                for _ in range(12):  # each of four workers has answered
                    seconds(session, url)
            times: dict[str, list[float]] = {our_url: [], stock_url: []}
            for _ in range(ROUNDS):
                for url, session in sessions.items():
                    times[url].append(seconds(session, url))
        a, b = (statistics.median(times[url]) * 1000 for url in (our_url, stock_url))
    print(
        json.dumps({"runs": runs, "mlctl_ms": round(a, 1), "stock_ms": round(b, 1), "ratio": round(a / b, 2)})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
