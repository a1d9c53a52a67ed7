"""`mlctl server-up` beside stock `mlflow server`, both on the same kind of backend, in turns.

    python tests/benchmarks/tracking_server.py [--pairs 3] [--backend sqlite|postgresql] [--seconds 3]

Each side is started with four workers on a fresh database and measured: seconds until it is healthy, memory of
all its processes (shared pages once), seconds to stop; then runs created, metrics logged and batches of 1,000
metrics logged a second at 1, 4 and 16 clients, the best of 10,000 runs by a metric, and 50 MB up and down.
Beside each rate stand the CPU milliseconds that the server's processes took for one: they hardly mind what else
the machine does. Medians, and ours beside stock's: over 1 is better, in every line. Last, how long one client
waits for an answer of our four workers, beside one worker's.
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
COMMANDS: dict[str, str] = {}  # side -> how it was started, as a person would type it
LOWER = ("CPU", "healthy s", "memory MB", "stop s", "best of 10,000 ms", "50 MB up s", "50 MB down s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--backend", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {"stock": defaultdict(list), "mlctl": defaultdict(list)}
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres.running()) if options.backend == "postgresql" else None
        for number in range(options.pairs):
            for side in ("stock", "mlctl") if number % 2 == 0 else ("mlctl", "stock"):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                backend = (
                    database.uri(database.new_database()) if database else f"sqlite:///{folder}/mlflow.db"
                )
                for name, value in measured(side, backend, folder, options.seconds):
                    found[side][name].append(value)
                    print(f"pair {number + 1} {side:6} {name:28} {value:10.2f}", file=sys.stderr, flush=True)
    print(f"{'':28} {'stock':>10} {'mlctl':>10} {'better':>8}")
    for name in found["mlctl"]:
        stock, ours = (statistics.median(found[side][name]) for side in ("stock", "mlctl"))
        better = (stock, ours) if name.startswith(LOWER) else (ours, stock)
        ratio = better[0] / max(better[1], 1e-9)
        print(f"{name:28} {stock:10.2f} {ours:10.2f} {ratio:7.2f}x")
    four, one = (statistics.median(waits(workers) for _ in range(options.pairs)) for workers in (4, 1))
    print(f"one client waits {four:.2f} ms for 4 workers, {one:.2f} ms for one: {four / one:.2f}x")
    for side, command in COMMANDS.items():
        print(f"{side}: {command}")


def measured(side: str, backend: str, folder: Path, seconds: float) -> Iterator[tuple[str, float]]:
    """Yield (what, value) of one server from its start to its end."""
    port, state = free_port(), folder / "state"
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "PGPASSWORD": postgres.PASSWORD, "MLCTL_STATE_DIR": str(state)}
    start = time.monotonic()
    if side == "mlctl":
        more = [] if backend.startswith("sqlite") else ["--backend", backend]
        command = [sys.executable, "-m", "mlctl", "server-up", "--port", str(port), "-o", "json", *more]
        COMMANDS[side] = " ".join(["mlctl", *command[3:]])
        done = subprocess.run(
            command, cwd=folder, env=environment, check=True, capture_output=True, text=True
        )
        server = psutil.Process(json.loads(done.stdout)["pid"])
    else:
        uri = backend.replace("postgresql:", "postgresql+psycopg2:")
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--port", str(port)]
        COMMANDS[side] = " ".join(["mlflow", *command[3:]])
        with (folder / "stock.log").open("wb") as log:
            server = psutil.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        while not answers(url):
            time.sleep(0.05)
    yield "healthy s", time.monotonic() - start
    try:
        time.sleep(1)
        family = [server, *server.children(recursive=True)]
        yield "CPU s, healthy", cpu(family)
        yield "memory MB", summed(family, lambda one: one.memory_full_info().pss) / 1e6
        yield from load(url, seconds, family)
        yield "memory MB, after the load", summed(family, lambda one: one.memory_full_info().pss) / 1e6
        yield "best of 10,000 ms", best_of_many(url, backend, folder) * 1000
        yield from artifact(url, folder)
    finally:
        start = time.monotonic()
        if side == "mlctl":
            subprocess.run(
                [sys.executable, "-m", "mlctl", "server-down"],
                env=environment,
                check=True,
                capture_output=True,
            )
        else:
            server.send_signal(signal.SIGTERM)
            psutil.wait_procs(family, timeout=60)
    yield "stop s", time.monotonic() - start
    for left in psutil.process_iter(["cmdline"]):  # stock's job runner survives its server
        if left.pid in {one.pid for one in family}:
            left.kill()


def answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/health", timeout=2).ok
    return False


def load(url: str, seconds: float, family: list[psutil.Process]) -> Iterator[tuple[str, float]]:
    """Yield what clients reach in some seconds each."""

    def create(session: requests.Session, _run: str, _number: int) -> None:
        post(session, url, "runs/create", {"experiment_id": "0", "start_time": 1})

    def log(session: requests.Session, run: str, number: int) -> None:
        point = {"run_id": run, "key": "loss", "value": 1.0, "timestamp": number, "step": number}
        post(session, url, "runs/log-metric", point)

    def batch(session: requests.Session, run: str, number: int) -> None:
        metrics = [
            {"key": f"m{i % 10}", "value": i, "timestamp": number * 1000 + i, "step": number * 100 + i // 10}
            for i in range(1000)
        ]
        post(session, url, "runs/log-batch", {"run_id": run, "metrics": metrics})

    for what, work, of in (
        ("runs created", create, CLIENTS),
        ("metrics logged", log, CLIENTS),
        ("batches of 1000", batch, CLIENTS),
    ):
        for clients in of:
            before = cpu(family)
            each = rate(url, work, clients, seconds)
            yield f"{what}/s, {clients}", each
            yield f"CPU ms, {what}, {clients}", (cpu(family) - before) * 1000 / max(each * seconds, 1)


def cpu(family: list[psutil.Process]) -> float:
    """Return the CPU seconds that the processes have taken so far."""
    return summed(family, lambda one: sum(one.cpu_times()[:2]))


def summed(family: list[psutil.Process], figure: Callable[[psutil.Process], float]) -> float:
    """Return a figure of all processes together; one that has ended counts no more."""
    total = 0.0
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += figure(one)
    return total


def rate(url: str, work: Callable[[requests.Session, str, int], None], clients: int, seconds: float) -> float:
    """Return how often a second that many clients together get it done."""
    done = [0] * clients
    until = time.monotonic() + seconds

    def client(number: int) -> None:
        with requests.Session() as session:
            session.trust_env = False
            run = post(session, url, "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
            while time.monotonic() < until:
                work(session, run, done[number])
                done[number] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (seconds + time.monotonic() - until)


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


def waits(workers: int) -> float:
    """Return the milliseconds, in the median, after which one client has its metric logged, on sqlite."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MLCTL_STATE_DIR": f"{folder}/state"}
        mlctl = [sys.executable, "-m", "mlctl"]
        up = [*mlctl, "server-up", "--port", "0", "--workers", str(workers), "-o", "json"]
        done = subprocess.run(up, cwd=folder, env=environment, check=True, capture_output=True)
        url = json.loads(done.stdout)["url"]
        times = []
        try:
            with requests.Session() as session:
                session.trust_env = False
                run = post(session, url, "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
                for number in range(300):
                    start = time.monotonic()
                    point = {"run_id": run, "key": "loss", "value": 1.0, "timestamp": number, "step": number}
                    post(session, url, "runs/log-metric", point)
                    times.append(time.monotonic() - start)
        finally:
            subprocess.run([*mlctl, "server-down"], env=environment, check=True, capture_output=True)
    return statistics.median(times[50:]) * 1000


def fill_postgresql(backend: str, file: Path) -> None:
    """Copy what `fill` has made in an sqlite file into a PostgreSQL database that has an experiment 0 alone."""
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
            names = [one[0] for one in rows.description]
            cursor.execute(f"SELECT * FROM {table} LIMIT 0")
            booleans = {one.name for one in cursor.description if one.type_code == 16}
            copied = (
                [
                    experiment if name == "experiment_id" else bool(value) if name in booleans else value
                    for name, value in zip(names, row, strict=True)
                ]
                for row in rows
            )
            execute_values(
                cursor, f"INSERT INTO {table} ({', '.join(names)}) VALUES %s", copied, page_size=1000
            )
        connection.commit()


def best_of_many(url: str, backend: str, folder: Path) -> float:
    """Return the seconds that the best of 10,000 runs takes, once the server has had time to look at them."""
    if backend.startswith("sqlite"):
        fill(folder / "mlflow.db", 10_000)
    else:
        fill(folder / "many.db", 10_000)
        fill_postgresql(backend, folder / "many.db")
    time.sleep(20)
    with requests.Session() as session:
        experiment = session.get(
            f"{url}/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "bench"}, timeout=60
        ).json()["experiment"]["experiment_id"]
        ask = {"experiment_ids": [experiment], "max_results": 1, "order_by": ["metrics.test_accuracy DESC"]}
        times = []
        for _ in range(21):  # the first of a worker is slow, and PostgreSQL may be cleaning up after the load
            start = time.monotonic()
            post(session, url, "runs/search", ask)
            times.append(time.monotonic() - start)
    return statistics.median(times)


def artifact(url: str, folder: Path) -> Iterator[tuple[str, float]]:
    """Yield the seconds that 50 MB take each way, medians of seven."""
    content = os.urandom(1 << 20) * 50
    up, down = [], []
    for _ in range(7):
        address = f"{url}/api/2.0/mlflow-artifacts/artifacts/0/{uuid.uuid4().hex}/large.bin"
        start = time.monotonic()
        requests.put(address, data=content, timeout=120).raise_for_status()
        up.append(time.monotonic() - start)
        start = time.monotonic()
        assert len(requests.get(address, timeout=120).content) == len(content)
        down.append(time.monotonic() - start)
    yield "50 MB up s", statistics.median(up)
    yield "50 MB down s", statistics.median(down)


if __name__ == "__main__":
    main()
