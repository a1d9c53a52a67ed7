"""Compare `mlctl serve` with other servers: the same models, one machine, the same minutes; prints a table.

    python tests/benchmarks/serving.py [--model mnist …] [--seconds 5] [--peers-python PYTHON] [--only "NAME;NAME"]

The models: mnist (a CNN with 1,199,882 parameters), digits, housing (a table) and pictures (PNG files as bytes) of
mlctl, and a Keras and a scikit-learn model that stock MLflow saved. A request is one row. Debian's `wrk` generates
the load on the same cores. BentoML and LitServe run if --peers-python names a Python that has them, Keras and MLflow;
they answer the ONNX graph where there is one, else what MLflow or Keras loads. Stock MLflow takes no pictures as
bytes; it gets their pixels as JSON.

The table shows requests per second and p50 and p99 latency at 1, 8 and 32 clients, answers other than 200, the
CPU milliseconds per request (other programs disturb these least), the seconds until the first answer, and the
memory of all processes, with shared pages counted once.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.serving_models import BenchmarkModel, make
from tests.parts import free_port

HERE = Path(__file__).parent
CLIENTS = (1, 8, 32)
MODELS = ("digits", "housing", "pictures", "keras", "sklearn")
START_TIMEOUT_S = 180


@dataclass(frozen=True)
class Load:
    """The measurements of one load."""

    requests_per_s: float
    p50: str
    p99: str
    failures: int


@dataclass
class Result:
    """The measurements of one server."""

    name: str
    command: str
    ready_s: float = 0.0
    memory_mb: float = 0.0
    cpu_ms: float = 0.0
    loads: list[Load] = field(default_factory=list)


def write_request(folder: Path, name: str, body: bytes, content_type: str) -> None:
    """Write a request's body, and a script for wrk that sends it."""
    (folder / f"{name}.body").write_bytes(body)
    (folder / f"{name}.lua").write_text(
        f'local file = io.open("{folder / name}.body", "rb")\nwrk.method = "POST"\n'
        f'wrk.headers["Content-Type"] = "{content_type}"\nwrk.body = file:read("*a")\n'
    )


def build_commands(model: BenchmarkModel, port: int, peers: str | None) -> dict[str, tuple[list[str], str]]:
    """Return each server's command and the name of its request."""
    python = [sys.executable, "-m"]
    app_dir = str(HERE / "peers")
    uvicorn = [*python, "uvicorn", "--port", str(port), "--log-level", "error", "--app-dir", app_dir]
    mlctl = [*python, "mlctl", "serve", str(model.served), "--port", str(port)]
    stock = [*python, "mlflow", "models", "serve", "--env-manager", "local", "-p", str(port), "-m"]
    commands = {
        "mlctl": (mlctl, "own"),
        "mlctl, 2 workers": ([*mlctl, "--workers", "2"], "own"),
        "mlflow models serve": ([*stock, str(model.stock)], "stock"),
    }
    if model.name == "mnist":
        commands["FastAPI, model.predict"] = ([*uvicorn, "fastapi_keras:app"], "own")
        commands["FastAPI, ONNX Runtime"] = ([*uvicorn, "fastapi_onnx:app"], "own")
        commands["floor: bare ASGI"] = ([*uvicorn, "bare:app"], "own")
    if peers:
        bento = [peers, "-m", "bentoml", "serve", f"bento:{model.kind}", "--port", str(port)]
        commands["BentoML"] = ([*bento, "--working-dir", app_dir], "own")
        commands["LitServe"] = (
            [peers, str(HERE / "peers" / "lit.py"), str(port)],
            "base64" if model.name == "pictures" else "own",
        )
    return commands


def measure(name: str, command: list[str], *, request: str, port: int, folder: Path, seconds: int) -> Result:
    """Start a server, wait for its first answer, apply each load, and stop the server."""
    result = Result(name, shlex.join(command))
    started = time.perf_counter()
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for_answer(process, port, request, folder)
        result.ready_s = time.perf_counter() - started
        cpu_before = _cpu_s(process.pid)
        result.loads = [_apply_load(clients, folder / f"{request}.lua", port, seconds) for clients in CLIENTS]
        requests = sum(load.requests_per_s for load in result.loads) * seconds
        result.cpu_ms = (_cpu_s(process.pid) - cpu_before) / max(1.0, requests) * 1000
        result.memory_mb = sum(member.memory_full_info().pss for member in _process_tree(process.pid)) / 1e6
    finally:
        for number, timeout_s in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(timeout_s)
        log.close()
    return result


def _apply_load(clients: int, script: Path, port: int, seconds: int) -> Load:
    wrk = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "-s", str(script)]
    url = f"http://127.0.0.1:{port}/invocations"
    output = subprocess.run([*wrk, url], capture_output=True, text=True, check=True).stdout
    failures = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return Load(
        requests_per_s=float(_search(r"Requests/sec:\s+([\d.]+)", output)),
        p50=_search(r"\n\s+50%\s+(\S+)", output),
        p99=_search(r"\n\s+99%\s+(\S+)", output),
        failures=int(failures[1]) if failures else 0,
    )


def _process_tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process tree."""
    return sum(sum(process.cpu_times()[:2]) for process in _process_tree(pid))


def _wait_for_answer(process: subprocess.Popen[bytes], port: int, name: str, folder: Path) -> None:
    body = (folder / f"{name}.body").read_bytes()
    content_type = "image/png" if body.startswith(b"\x89PNG") else "application/json"
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": content_type}
    )
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                json.load(reply)
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError((folder / "log").read_text(errors="replace")[-2000:])


def _search(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if not match:
        raise RuntimeError(f"unexpected output of wrk: {text}")
    return match[1]


def compare(
    model: BenchmarkModel, folder: Path, options: argparse.Namespace
) -> tuple[list[Result], list[str]]:
    """Measure every server with one model; return the results, and what failed."""
    os.environ.update(
        BENCH_MODEL=model.name,
        BENCH_FOLDER=str(model.peer),
        BENCH_HIGH=str(model.high),
        BENCH_KERAS=str(model.peer / "model.keras"),
        BENCH_ONNX=str(model.peer / "model.onnx"),
    )
    write_request(folder, "own", model.request, model.content_type)
    write_request(folder, "stock", model.stock_request, "application/json")
    picture = json.dumps({"image": base64.b64encode(model.request).decode()}).encode()
    write_request(folder, "base64", picture, "application/json")
    results, failures = [], []
    port = free_port()
    for name, (command, request) in build_commands(model, port, options.peers_python).items():
        if options.only and name not in options.only.split(";"):
            continue
        try:
            result = measure(
                name, command, request=request, port=port, folder=folder, seconds=options.seconds
            )
        except RuntimeError as error:
            failures.append(f"{model.name}, {name}: {error}")
            continue
        results.append(result)
        print(f"{model.name}, {name}: {result.loads}", file=sys.stderr, flush=True)
    return results, failures


def print_row(model: str, result: Result) -> None:
    """Print a row of the table."""
    rates = " / ".join(f"{load.requests_per_s:.0f}" for load in result.loads)
    p50 = " / ".join(load.p50 for load in result.loads)
    p99 = " / ".join(load.p99 for load in result.loads)
    failed = sum(load.failures for load in result.loads)
    print(
        f"| {model} | {result.name} | {rates} | {p50} | {p99} | {failed}"
        f" | {result.cpu_ms:.2f} | {result.ready_s:.1f} | {result.memory_mb:.0f} |"
    )


def main() -> None:
    """Measure every server with every model and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", choices=(*MODELS, "mnist"), default=MODELS)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--peers-python")
    parser.add_argument("--only")
    options = parser.parse_args()
    scripts = str(Path(sys.executable).parent)  # mlflow starts uvicorn from the PATH
    os.environ.update(PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}", TF_CPP_MIN_LOG_LEVEL="3")
    rows: list[tuple[str, Result]] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mlctl-bench-") as temporary:
        os.environ["MLCTL_STATE_DIR"] = f"{temporary}/state"
        for name in options.model:
            folder = Path(temporary) / name
            results, failed = compare(make(name, folder), folder, options)
            rows += [(name, result) for result in results]
            failures += failed
    print(
        "| model | server | requests/s at 1 / 8 / 32 | p50 | p99 | not 200 | CPU ms a request | ready s | memory MB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, result in rows:
        print_row(name, result)
    print(
        f"\n{psutil.cpu_count()} cores, load average {psutil.getloadavg()[0]:.1f}, {options.seconds} s per load\n"
    )
    for command in dict.fromkeys(result.command for _, result in rows):
        print(command)
    for failure in failures:
        print(f"FAILED {failure}")


if __name__ == "__main__":
    main()
