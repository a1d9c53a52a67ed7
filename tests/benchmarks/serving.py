"""Compare `mlctl serve` with other servers: one model, one machine, one call; prints a table and every command.

    python tests/benchmarks/serving.py [--seconds 5] [--peers-python PYTHON] [--only "NAME;NAME"]

The model is the MNIST CNN with 1,199,882 parameters. A request is one image of 28x28 pixels as JSON. Debian's `wrk`
generates the load on the same cores. BentoML and LitServe run if --peers-python names a Python that has them.

The table shows requests per second and p50 and p99 latency at 1, 8 and 32 clients, answers other than 200, the
CPU milliseconds per request (other programs disturb these least), the seconds until the first answer, and the
memory of all processes, with shared pages counted once.
"""

from __future__ import annotations

import argparse
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
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.parts import free_port

HERE = Path(__file__).parent
CLIENTS = (1, 8, 32)
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


def save_models(folder: Path) -> dict[str, Path]:
    """Save the model as mlctl does, as MLflow's Keras flavor does, as .keras and as .onnx, and the requests."""
    import keras
    import mlflow
    import numpy as np
    from keras import layers

    from mlctl.adapters.models.save import save_model
    from mlctl.serving.scoring import PixelEncoder

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    assert model.count_params() == 1_199_882
    images = np.random.default_rng(1).integers(0, 256, (64, 28, 28), dtype=np.uint8)
    encoder = PixelEncoder((28, 28), high=255)
    save_model(
        folder / "mlctl",
        model,
        encoder=encoder,
        raw=images,
        encoded=encoder(images),
        metadata={"task": "multiclass", "classes": list("0123456789"), "unit": "", "recipe": "mnist"},
    )
    signature = mlflow.models.infer_signature(encoder(images[:1]), np.zeros((1, 10), np.float32))
    mlflow.keras.save_model(model, str(folder / "stock"), signature=signature, pip_requirements=["keras"])
    _write_request(folder, "raw", images[:1].tolist())
    _write_request(folder, "scaled", encoder(images[:1]).round(4).tolist())
    files = folder / "mlctl" / "artifacts" / "model"
    return {
        "mlctl": folder / "mlctl",
        "stock": folder / "stock",
        "keras": files / "model.keras",
        "onnx": files / "model.onnx",
    }


def _write_request(folder: Path, name: str, inputs: list[Any]) -> None:
    """Write a request's body, and a script for wrk that sends it."""
    body = json.dumps({"inputs": inputs})
    (folder / f"{name}.json").write_text(body)
    (folder / f"{name}.lua").write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [=[{body}]=]\n'
    )


def build_commands(files: dict[str, Path], port: int, peers: str | None) -> dict[str, tuple[list[str], str]]:
    """Return each server's command and the name of its request; MLflow's Keras flavor takes scaled pixels."""
    python = [sys.executable, "-m"]
    app_dir = str(HERE / "peers")
    uvicorn = [*python, "uvicorn", "--port", str(port), "--log-level", "error", "--app-dir", app_dir]
    mlctl = [*python, "mlctl", "serve", str(files["mlctl"]), "--port", str(port)]
    stock = [*python, "mlflow", "models", "serve", "--env-manager", "local", "-p", str(port), "-m"]
    commands = {
        "mlctl": (mlctl, "raw"),
        "mlctl, 2 workers": ([*mlctl, "--workers", "2"], "raw"),
        "mlflow, keras": ([*stock, str(files["stock"])], "scaled"),
        "mlflow, our model": ([*stock, str(files["mlctl"])], "raw"),
        "FastAPI, model.predict": ([*uvicorn, "fastapi_keras:app"], "raw"),
        "FastAPI, ONNX Runtime": ([*uvicorn, "fastapi_onnx:app"], "raw"),
        "floor: bare ASGI": ([*uvicorn, "bare:app"], "raw"),
    }
    if peers:
        bento = [peers, "-m", "bentoml", "serve", "bento_onnx:Mnist", "--port", str(port)]
        commands["BentoML, ONNX Runtime"] = ([*bento, "--working-dir", app_dir], "raw")
        commands["LitServe, ONNX Runtime"] = ([peers, str(HERE / "peers" / "lit_onnx.py"), str(port)], "raw")
    return commands


def measure(name: str, command: list[str], *, request: str, port: int, folder: Path, seconds: int) -> Result:
    """Start a server, wait for its first answer, apply each load, and stop the server."""
    result = Result(name, shlex.join(command))
    started = time.perf_counter()
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for_answer(process, port, (folder / f"{request}.json").read_bytes(), folder)
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


def _wait_for_answer(process: subprocess.Popen[bytes], port: int, body: bytes, folder: Path) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
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


def main() -> None:
    """Measure every server and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--peers-python")
    parser.add_argument("--only")
    options = parser.parse_args()
    results, failures = [], []
    with tempfile.TemporaryDirectory(prefix="mlctl-bench-") as temporary:
        folder = Path(temporary)
        files = save_models(folder)
        scripts = str(Path(sys.executable).parent)  # mlflow starts uvicorn from the PATH
        os.environ.update(
            PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}",
            BENCH_KERAS=str(files["keras"]),
            BENCH_ONNX=str(files["onnx"]),
            MLCTL_STATE_DIR=str(folder / "state"),
            TF_CPP_MIN_LOG_LEVEL="3",
        )
        port = free_port()
        for name, (command, request) in build_commands(files, port, options.peers_python).items():
            if options.only and name not in options.only.split(";"):
                continue
            try:
                result = measure(
                    name, command, request=request, port=port, folder=folder, seconds=options.seconds
                )
            except RuntimeError as error:
                failures.append(f"{name}: {error}")
                continue
            results.append(result)
            print(f"{name}: {result.loads}", file=sys.stderr, flush=True)
    print(
        "| server | requests/s at 1 / 8 / 32 | p50 | p99 | not 200 | CPU ms a request | ready s | memory MB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for result in results:
        rates = " / ".join(f"{load.requests_per_s:.0f}" for load in result.loads)
        p50 = " / ".join(load.p50 for load in result.loads)
        p99 = " / ".join(load.p99 for load in result.loads)
        failed = sum(load.failures for load in result.loads)
        print(
            f"| {result.name} | {rates} | {p50} | {p99} | {failed}"
            f" | {result.cpu_ms:.2f} | {result.ready_s:.1f} | {result.memory_mb:.0f} |"
        )
    print(
        f"\n{psutil.cpu_count()} cores, load average {psutil.getloadavg()[0]:.1f}, {options.seconds} s per load\n"
    )
    for result in results:
        print(f"{result.name}: {result.command}")
    for failure in failures:
        print(f"FAILED {failure}")


if __name__ == "__main__":
    main()
