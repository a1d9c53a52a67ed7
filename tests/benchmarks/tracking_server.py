"""Compare `mlctl server-up` with stock `mlflow server`, both on the same kind of database, in turns.

    python tests/benchmarks/tracking_server.py [--pairs 3] [--backend sqlite|postgresql] [--seconds 3]

Each server starts with four workers on a new database. Measured are:

- the seconds until it is healthy, the memory of all its processes (shared pages once), and the seconds to stop
- runs created, metrics logged and batches of 1,000 metrics logged per second, at 1, 4 and 16 clients
- the search for the best of 10,000 runs by a metric
- 50 MB up and down

The CPU milliseconds of the server's processes per request are next to each rate; other programs on the machine
hardly change them. The table shows medians and their ratio; over 1 means that mlctl is better. The last line is the
latency of one client with mlctl's four workers, and with one worker.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import requests

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.runs_list import fill
from tests.parts import free_port, postgres

CLIENTS = (1, 4, 16)
LOWER_IS_BETTER = (
    *("CPU", "healthy s", "memory MB", "stop s"),
    *("best of 10,000 ms", "50 MB up s", "50 MB down s"),
)
COMMANDS: dict[str, str] = {}  # how each server was started, as a person would type it


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--backend", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {"stock": defaultdict(list), "mlctl": defaultdict(list)}
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres.running()) if options.backend == "postgresql" else None
        for number in range(options.pairs):
            for side in ("stock", "mlctl") if number % 2 == 0 else ("mlctl", "stock"):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                backend = (
                    database.uri(database.new_database()) if database else f"sqlite:///{folder}/mlflow.db"
                )
                for name, value in measure(side, backend, folder, options.seconds):
                    results[side][name].append(value)
                    print(f"pair {number + 1} {side:6} {name:28} {value:10.2f}", file=sys.stderr, flush=True)
    print(f"{'':28} {'stock':>10} {'mlctl':>10} {'better':>8}")
    for name in results["mlctl"]:
        stock, mlctl = (statistics.median(results[side][name]) for side in ("stock", "mlctl"))
        better, worse = (stock, mlctl) if name.startswith(LOWER_IS_BETTER) else (mlctl, stock)
        print(f"{name:28} {stock:10.2f} {mlctl:10.2f} {better / max(worse, 1e-9):7.2f}x")
    four_workers, one_worker = (
        statistics.median(measure_latency(workers) for _ in range(options.pairs)) for workers in (4, 1)
    )
    print(
        f"latency of one client: {four_workers:.2f} ms with 4 workers, {one_worker:.2f} ms with one: "
        f"{four_workers / one_worker:.2f}x"
    )
    for side, command in COMMANDS.items():
        print(f"{side}: {command}")


def measure(side: str, backend: str, folder: Path, seconds: float) -> Iterator[tuple[str, float]]:
    """Yield (name, value) of one server from its start to its end."""
    port, state = free_port(), folder / "state"
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "PGPASSWORD": postgres.PASSWORD, "MLCTL_STATE_DIR": str(state)}
    python = [sys.executable, "-m"]
    started = time.monotonic()
    if side == "mlctl":
        command = ["mlctl", "server-up", "--port", str(port), "-o", "json"]
        if not backend.startswith("sqlite"):
            command += ["--backend", backend]
        done = subprocess.run(
            [*python, *command], cwd=folder, env=environment, check=True, capture_output=True, text=True
        )
        server = psutil.Process(json.loads(done.stdout)["pid"])
    else:
        uri = backend.replace("postgresql:", "postgresql+psycopg2:")
        command = ["mlflow", "server", "--backend-store-uri", uri, "--port", str(port)]
        with (folder / "stock.log").open("wb") as log:
            server = psutil.Popen(
                [*python, *command],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not is_healthy(url):
            time.sleep(0.05)
    COMMANDS[side] = " ".join(command)
    yield "healthy s", time.monotonic() - started
    try:
        time.sleep(1)
        processes = [server, *server.children(recursive=True)]
        yield "CPU s, healthy", cpu_s(processes)
        yield "memory MB", memory_mb(processes)
        yield from apply_loads(url, seconds, processes)
        yield "memory MB, after the load", memory_mb(processes)
        yield "best of 10,000 ms", search_s(url, backend, folder) * 1000
        yield from transfer_artifact(url)
    finally:
        stopping = time.monotonic()
        if side == "mlctl":
            command = [*python, "mlctl", "server-down"]
            subprocess.run(command, env=environment, check=True, capture_output=True)
        else:
            server.send_signal(signal.SIGTERM)
            psutil.wait_procs(processes, timeout=60)
    yield "stop s", time.monotonic() - stopping
    for process in processes:  # stock's job runner does not end with its server
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def is_healthy(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/health", timeout=2).ok
    return False


def apply_loads(url: str, seconds: float, processes: list[psutil.Process]) -> Iterator[tuple[str, float]]:
    """Yield the rate and the CPU time of each kind of request at each number of clients."""

    def create(session: requests.Session, _run: str, _number: int) -> None:
        post(session, url, "runs/create", {"experiment_id": "0", "start_time": 1})

    def log_metric(session: requests.Session, run: str, number: int) -> None:
        point = {"run_id": run, "key": "loss", "value": 1.0, "timestamp": number, "step": number}
        post(session, url, "runs/log-metric", point)

    def log_batch(session: requests.Session, run: str, number: int) -> None:
        metrics = [
            {"key": f"m{i % 10}", "value": i, "timestamp": number * 1000 + i, "step": number * 100 + i // 10}
            for i in range(1000)
        ]
        post(session, url, "runs/log-batch", {"run_id": run, "metrics": metrics})

    kinds = {"runs created": create, "metrics logged": log_metric, "batches of 1000": log_batch}
    for kind, send in kinds.items():
        for clients in CLIENTS:
            cpu_before = cpu_s(processes)
            rate = measure_rate(url, send, clients, seconds)
            yield f"{kind}/s, {clients}", rate
            cpu_ms = (cpu_s(processes) - cpu_before) * 1000
            yield f"CPU ms, {kind}, {clients}", cpu_ms / max(rate * seconds, 1)


def cpu_s(processes: list[psutil.Process]) -> float:
    """Return the CPU seconds of the processes that still run."""
    return _sum_over(processes, lambda process: sum(process.cpu_times()[:2]))


def memory_mb(processes: list[psutil.Process]) -> float:
    """Return the memory of the processes that still run, with shared pages counted once."""
    return _sum_over(processes, lambda process: process.memory_full_info().pss) / 1e6


def _sum_over(processes: list[psutil.Process], value: Callable[[psutil.Process], float]) -> float:
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += value(process)
    return total


def measure_rate(
    url: str, send: Callable[[requests.Session, str, int], None], clients: int, seconds: float
) -> float:
    """Return the requests per second of this many clients together."""
    counts = [0] * clients
    deadline = time.monotonic() + seconds

    def run_client(number: int) -> None:
        with new_session() as session:
            run = create_run(session, url)
            while time.monotonic() < deadline:
                send(session, run, counts[number])
                counts[number] += 1

    threads = [threading.Thread(target=run_client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (seconds + time.monotonic() - deadline)


def new_session() -> requests.Session:
    """Return a session that ignores proxies and .netrc."""
    session = requests.Session()
    session.trust_env = False
    return session


def create_run(session: requests.Session, url: str) -> str:
    """Create a run and return its id."""
    return post(session, url, "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]


def post(
    session: requests.Session, url: str, path: str, body: dict[str, object]
) -> dict[str, dict[str, dict[str, str]]]:
    try:
        reply = session.post(f"{url}/api/2.0/mlflow/{path}", json=body, timeout=120)
    except requests.ConnectionError:  # stock closes a connection that was idle for five seconds
        reply = session.post(f"{url}/api/2.0/mlflow/{path}", json=body, timeout=120)
    reply.raise_for_status()
    answer: dict[str, dict[str, dict[str, str]]] = reply.json()
    return answer


def measure_latency(workers: int) -> float:
    """Return the median milliseconds in which mlctl's server, on SQLite, logs a metric for one client."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MLCTL_STATE_DIR": f"{folder}/state"}
        mlctl = [sys.executable, "-m", "mlctl"]
        server_up = [*mlctl, "server-up", "--port", "0", "--workers", str(workers), "-o", "json"]
        done = subprocess.run(server_up, cwd=folder, env=environment, check=True, capture_output=True)
        url = json.loads(done.stdout)["url"]
        times = []
        try:
            with new_session() as session:
                run = create_run(session, url)
                for number in range(300):
                    start = time.monotonic()
                    point = {"run_id": run, "key": "loss", "value": 1.0, "timestamp": number, "step": number}
                    post(session, url, "runs/log-metric", point)
                    times.append(time.monotonic() - start)
        finally:
            subprocess.run([*mlctl, "server-down"], env=environment, check=True, capture_output=True)
    return statistics.median(times[50:]) * 1000


def fill_postgresql(backend: str, file: Path) -> None:
    """Copy the runs of an SQLite file into a PostgreSQL database that has only the default experiment."""
    import psycopg2
    from psycopg2.extras import execute_values

    with (
        contextlib.closing(sqlite3.connect(file)) as source,
        contextlib.closing(psycopg2.connect(backend, password=postgres.PASSWORD)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT max(experiment_id) + 1 FROM experiments")
        ((experiment,),) = cursor.fetchall()
        cursor.execute(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage, artifact_location, workspace)"
            " VALUES (%s, 'bench', 'active', '/none', 'default')",
            (experiment,),
        )
        for table in ("runs", "latest_metrics", "params", "tags"):
            rows = source.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in rows.description]
            cursor.execute(f"SELECT * FROM {table} LIMIT 0")
            booleans = {column.name for column in cursor.description if column.type_code == 16}
            converted = (
                [
                    experiment if name == "experiment_id" else bool(value) if name in booleans else value
                    for name, value in zip(names, row, strict=True)
                ]
                for row in rows
            )
            execute_values(
                cursor, f"INSERT INTO {table} ({', '.join(names)}) VALUES %s", converted, page_size=1000
            )
        connection.commit()


def search_s(url: str, backend: str, folder: Path) -> float:
    """Return the median seconds of a search for the best of 10,000 runs."""
    if backend.startswith("sqlite"):
        fill(folder / "mlflow.db", 10_000)
    else:
        fill(folder / "many.db", 10_000)
        fill_postgresql(backend, folder / "many.db")
    time.sleep(20)  # the server updates the database's statistics
    with new_session() as session:
        experiment = session.get(
            f"{url}/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "bench"}, timeout=60
        ).json()["experiment"]["experiment_id"]
        query = {"experiment_ids": [experiment], "max_results": 1, "order_by": ["metrics.test_accuracy DESC"]}
        times = []
        for _ in range(21):  # a worker's first search is slow, and PostgreSQL may still vacuum after the load
            start = time.monotonic()
            post(session, url, "runs/search", query)
            times.append(time.monotonic() - start)
    return statistics.median(times)


def transfer_artifact(url: str) -> Iterator[tuple[str, float]]:
    """Yield the median seconds to upload and to download 50 MB."""
    content = os.urandom(1 << 20) * 50
    upload_times, download_times = [], []
    for _ in range(7):
        address = f"{url}/api/2.0/mlflow-artifacts/artifacts/0/{uuid.uuid4().hex}/large.bin"
        start = time.monotonic()
        requests.put(address, data=content, timeout=120).raise_for_status()
        upload_times.append(time.monotonic() - start)
        start = time.monotonic()
        assert len(requests.get(address, timeout=120).content) == len(content)
        download_times.append(time.monotonic() - start)
    yield "50 MB up s", statistics.median(upload_times)
    yield "50 MB down s", statistics.median(download_times)


if __name__ == "__main__":
    main()
