"""`mlctl serve` beside its peers: one model, one machine, one run; prints the table and every command.

    python tests/benchmarks/serving.py [--seconds 5] [--peers-python PYTHON] [--only "NAME;NAME"]

The model is the MNIST CNN of 1,199,882 parameters, a request one picture of 28x28 pixels as JSON, the load
Debian's `wrk` on the same cores. BentoML and LitServe are asked through another Python where --peers-python
names one that has them. Requests a second and p50/p99 in milliseconds at 1, 8 and 32 clients, seconds until the
first answer, memory of the whole process tree (shared pages counted once), its CPU milliseconds a request, which other work
on the machine disturbs least, and answers that were not 200.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import psutil

HERE = Path(__file__).parent
CLIENTS = (1, 8, 32)
READY_WITHIN_S = 180


@dataclass
class Result:
    name: str
    command: str
    ready_s: float = 0.0
    memory_mb: float = 0.0
    cpu_ms: float = 0.0
    loads: list[tuple[float, str, str, int]] = field(default_factory=list)


def made(folder: Path) -> dict[str, Path]:
    """Save the model as mlctl does, as MLflow's Keras flavor does, as .keras and as .onnx."""
    import keras
    import mlflow
    import numpy as np
    from keras import layers

    from mlctl.adapters.models.save import save_model
    from mlctl.serving.scoring import PixelEncoder

    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2), layers.Dropout(0.25), layers.Flatten(),
        layers.Dense(128, activation="relu"), layers.Dropout(0.5), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    assert model.count_params() == 1_199_882
    raw = np.random.default_rng(1).integers(0, 256, (64, 28, 28), dtype=np.uint8)
    encoder = PixelEncoder((28, 28), high=255)
    about = {"task": "multiclass", "classes": list("0123456789"), "unit": "", "recipe": "mnist"}
    save_model(
        folder / "ours", model, encoder=encoder, raw=raw, encoded=encoder(raw), metadata=about
    )
    signature = mlflow.models.infer_signature(encoder(raw[:1]), np.zeros((1, 10), np.float32))
    mlflow.keras.save_model(model, str(folder / "stock"), signature=signature, pip_requirements=["keras"])
    parts = folder / "ours" / "artifacts" / "model"
    body = json.dumps({"inputs": raw[:1].tolist()})
    (folder / "post.lua").write_text(_script(body))
    (folder / "body.json").write_text(body)
    scaled = json.dumps({"inputs": (encoder(raw[:1])).round(4).tolist()})
    (folder / "stock.lua").write_text(_script(scaled))
    (folder / "stock.json").write_text(scaled)
    return {"ours": folder / "ours", "stock": folder / "stock", "keras": parts / "model.keras",
            "onnx": parts / "model.onnx"}  # fmt: skip


def _script(body: str) -> str:
    return f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [=[{body}]=]\n'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def commands(files: dict[str, Path], port: int, peers: str | None) -> dict[str, tuple[list[str], bool]]:
    """Return each side's command, and whether it takes scaled pixels, as MLflow's plain Keras flavor does."""
    python = sys.executable
    uvicorn = [
        python,
        "-m",
        "uvicorn",
        "--port",
        str(port),
        "--log-level",
        "error",
        "--app-dir",
        str(HERE / "peers"),
    ]
    mlctl = [python, "-m", "mlctl", "serve", str(files["ours"]), "--port", str(port)]
    stock = [python, "-m", "mlflow", "models", "serve", "--env-manager", "local", "-p", str(port), "-m"]
    sides = {
        "mlctl": (mlctl, False),
        "mlctl, 2 workers": ([*mlctl, "--workers", "2"], False),
        "mlflow, keras": ([*stock, str(files["stock"])], True),
        "mlflow, our model": ([*stock, str(files["ours"])], False),
        "FastAPI, model.predict": ([*uvicorn, "fastapi_keras:app"], False),
        "FastAPI, ONNX Runtime": ([*uvicorn, "fastapi_onnx:app"], False),
        "floor: bare ASGI": ([*uvicorn, "bare:app"], False),
    }
    if peers:
        bento = [peers, "-m", "bentoml", "serve", "bento_onnx:Pictures", "--port", str(port)]
        sides["BentoML, ONNX Runtime"] = ([*bento, "--working-dir", str(HERE / "peers")], False)
        sides["LitServe, ONNX Runtime"] = ([peers, str(HERE / "peers" / "lit_onnx.py"), str(port)], False)
    return sides


def measured(name: str, command: list[str], port: int, folder: Path, scaled: bool, seconds: int) -> Result:
    """Start one side, wait for its first answer, put each load on it, and stop it."""
    kind = "stock" if scaled else "post"
    body = (folder / ("stock.json" if scaled else "body.json")).read_bytes()
    result = Result(name, shlex.join(command))
    begun = time.perf_counter()
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _until_answered(process, port, body, folder)
        result.ready_s = time.perf_counter() - begun
        url = f"http://127.0.0.1:{port}/invocations"
        before = _cpu_s(process.pid)
        for clients in CLIENTS:
            wrk = [
                "wrk",
                "-t1",
                f"-c{clients}",
                f"-d{seconds}s",
                "--latency",
                "-s",
                str(folder / f"{kind}.lua"),
                url,
            ]
            said = subprocess.run(wrk, capture_output=True, text=True, check=True).stdout
            bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
            result.loads.append((
                float(_found(r"Requests/sec:\s+([\d.]+)", said)), _found(r"\n\s+50%\s+(\S+)", said),
                _found(r"\n\s+99%\s+(\S+)", said), int(bad[1]) if bad else 0,
            ))  # fmt: skip
        answered = sum(load[0] for load in result.loads) * seconds
        result.cpu_ms = (_cpu_s(process.pid) - before) / max(1.0, answered) * 1000
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        result.memory_mb = sum(one.memory_full_info().pss for one in family) / 1e6
    finally:
        for number, patience_s in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(patience_s)
        log.close()
    return result


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process tree: on a machine that others use, this tells more than a rate."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(one.cpu_times().user + one.cpu_times().system for one in family)


def _until_answered(process: subprocess.Popen[bytes], port: int, body: bytes, folder: Path) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
    )
    end = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                json.load(reply)
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError((folder / "log").read_text(errors="replace")[-2000:])


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(f"wrk said: {text}")
    return found[1]


def main() -> None:
    """Measure every side and print the table."""
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
        files = made(folder)
        os.environ["PATH"] = (
            f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # stock runs uvicorn
        )
        os.environ.update(BENCH_KERAS=str(files["keras"]), BENCH_ONNX=str(files["onnx"]),
                          MLCTL_STATE_DIR=str(folder / "state"), TF_CPP_MIN_LOG_LEVEL="3")  # fmt: skip
        port = free_port()
        for name, (command, scaled) in commands(files, port, options.peers_python).items():
            if options.only and name not in options.only.split(";"):
                continue
            try:
                results.append(measured(name, command, port, folder, scaled, options.seconds))
            except RuntimeError as error:
                failures.append(f"{name}: {error}")
                continue
            print(f"{name}: {results[-1].loads}", file=sys.stderr, flush=True)
    print(
        "| server | requests/s at 1 / 8 / 32 | p50 | p99 | not 200 | CPU ms a request | ready s | memory MB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for one in results:
        rates, p50, p99, bad = zip(*one.loads, strict=True)
        print(
            f"| {one.name} | {' / '.join(f'{rate:.0f}' for rate in rates)} | {' / '.join(p50)}"
            f" | {' / '.join(p99)} | {sum(bad)} | {one.cpu_ms:.2f} | {one.ready_s:.1f} | {one.memory_mb:.0f} |"
        )
    print(
        f"\n{psutil.cpu_count()} cores, load average {psutil.getloadavg()[0]:.1f}, {options.seconds} s a load\n"
    )
    for one in results:
        print(f"{one.name}: {one.command}")
    for failure in failures:
        print(f"FAILED {failure}")


if __name__ == "__main__":
    main()
