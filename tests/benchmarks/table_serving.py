"""Measure an endpoint of a table: requests with one row of housing, for mlctl and for `mlflow models serve`.

    python tests/benchmarks/table_serving.py [--seconds 3] [--clients 8] [--model FOLDER] [--no-stock]

Both serve the same saved model with one worker. Debian's `wrk` generates the load on the same cores. The table shows
requests per second, CPU milliseconds of the server per request (other programs disturb these least), and p50 and p99.
Before that, the parts of one answer are measured in this process: reading, checking, predicting, writing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.batch import train
from tests.parts import free_port

ROW = {
    "longitude": -122.23, "latitude": 37.88, "housing_median_age": 41.0, "total_rooms": 880.0, "total_bedrooms": 129.0,
    "population": 322.0, "households": 126.0, "median_income": 8.3252, "ocean_proximity": "NEAR BAY",
}  # fmt: skip
BODY = json.dumps({"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())]}})
START_TIMEOUT_S = 120
STEPS = 2000


def time_parts(model: Path) -> None:
    """Print the microseconds of each part of an answer, without HTTP."""
    from mlctl.serving.model import ServedModel
    from mlctl.serving.payloads import answers
    from mlctl.serving.prediction import parse_request

    served = ServedModel(model)
    body = BODY.encode()
    call = parse_request(served, body, "application/json")
    assert call is not None
    predicted = call.predict()
    parts: dict[str, Callable[[], object]] = {
        "read and check": lambda: parse_request(served, body, "application/json"),
        "encode and predict": call.predict,
        "write": lambda: answers.encode(predicted),
    }
    for name, part in parts.items():
        best = min(_time(part) for _ in range(5))
        print(f"{name}: {best * 1e6:.0f} µs")


def _time(part: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(STEPS // 5):
        part()
    return (time.perf_counter() - started) / (STEPS // 5)


def measure(command: list[str], port: int, *, clients: int, seconds: int, folder: Path) -> str:
    """Start a server, load it, and return its line of the table."""
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait(server, port, log)
        script = folder / "request.lua"
        script.write_text(
            f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [=[{BODY}]=]\n'
        )
        wrk = ["wrk", "-t1", f"-c{clients}", "--latency", "-s", str(script)]
        url = f"http://127.0.0.1:{port}/invocations"
        subprocess.run([*wrk, "-d1s", url], capture_output=True, check=True)  # warm up
        before = _cpu_s(server.pid)
        done = subprocess.run([*wrk, f"-d{seconds}s", url], capture_output=True, text=True, check=True).stdout
        cpu_s = _cpu_s(server.pid) - before
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
    assert "Non-2xx" not in done, done
    requests = int(_find(r"(\d+) requests in", done))
    rate = float(_find(r"Requests/sec:\s+([\d.]+)", done))
    p50, p99 = (_find(rf"\n\s+{share}%\s+(\S+)", done) for share in (50, 99))
    return f"{rate:.0f} | {cpu_s / requests * 1000:.2f} | {p50} | {p99}"


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", BODY.encode(), {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                json.load(answer)
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(log.read_text(errors="replace")[-2000:])


def _cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    members = [process, *process.children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in members)


def _find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, text
    return match[1]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--no-stock", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlctl-bench-") as temporary:
        folder = Path(temporary)
        scripts = str(Path(sys.executable).parent)  # mlflow starts uvicorn from the PATH
        os.environ.update(
            MLCTL_STATE_DIR=str(folder / "state"), PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}"
        )
        model = options.model or train(folder)
        time_parts(model)
        port = free_port()
        python = [sys.executable, "-m"]
        servers = {"mlctl": [*python, "mlctl", "serve", str(model), "--port", str(port)]}
        if not options.no_stock:
            stock = [*python, "mlflow", "models", "serve", "--env-manager", "local", "-p", str(port)]
            servers["mlflow"] = [*stock, "-m", str(model)]
        print("| server | requests/s | CPU ms a request | p50 | p99 |\n| --- | --- | --- | --- | --- |")
        for name, command in servers.items():
            line = measure(command, port, clients=options.clients, seconds=options.seconds, folder=folder)
            print(f"| {name} | {line} |", flush=True)


if __name__ == "__main__":
    main()
