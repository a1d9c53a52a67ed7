"""Measure what --log-requests costs: the same endpoint without a log, with 1 %, and with all requests logged.

    python tests/benchmarks/request_log.py MODEL [--clients 8] [--seconds 3] [--rounds 3]

MODEL is the folder of a saved model with an input example, which is the request. All three endpoints run; Debian's
`wrk` asks one after the other, in random order, so that other programs disturb each of them alike. Printed are medians of the
rounds, and each as a ratio to the endpoint without a log: requests a second, p50, p99, and CPU per request.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.serving import _apply_load, _cpu_s, _wait_for_answer, write_request
from tests.parts import free_port

SHARES = {"no log": [], "1 %": ["--log-requests", "1%"], "100 %": ["--log-requests", "100%"]}
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def milliseconds(text: str) -> float:
    """Return a time that wrk printed, such as 812.00us."""
    unit = next(unit for unit in UNITS if text.endswith(unit))
    return float(text.removesuffix(unit)) * UNITS[unit]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    measured: dict[str, list[tuple[float, ...]]] = {name: [] for name in SHARES}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as running:
        folder = Path(temporary)
        example = (options.model / "serving_input_example.json").read_bytes()
        write_request(folder, "example", example, "application/json")
        os.environ["MLCTL_STATE_DIR"] = str(folder / "state")
        endpoints = {}
        for number, (name, arguments) in enumerate(SHARES.items()):
            port = free_port()
            command = [sys.executable, "-m", "mlctl", "serve", str(options.model), "--port", str(port)]
            with (folder / "log").open("ab") as log:
                process = subprocess.Popen(
                    [*command, "--name", f"e{number}", *arguments], stdout=log, stderr=log
                )
            running.callback(process.wait)
            running.callback(process.terminate)
            _wait_for_answer(process, port, "example", folder)
            endpoints[name] = (process.pid, port)
        for _ in range(options.rounds):
            for name, (pid, port) in random.sample(sorted(endpoints.items()), len(endpoints)):
                before = _cpu_s(pid)
                load = _apply_load(options.clients, folder / "example.lua", port, options.seconds)
                requests = load.requests_per_s * options.seconds
                cpu_ms = 1000 * (_cpu_s(pid) - before) / requests
                measured[name].append(
                    (load.requests_per_s, milliseconds(load.p50), milliseconds(load.p99), cpu_ms)
                )
    medians = {
        name: [statistics.median(part) for part in zip(*rounds, strict=True)]
        for name, rounds in measured.items()
    }
    print(f"{'':8}{'requests/s':>18}{'p50 ms':>18}{'p99 ms':>18}{'CPU ms/request':>18}")
    for name, values in medians.items():
        cells = [
            f"{value:.4g} ({value / base:.2f}x)"
            for value, base in zip(values, medians["no log"], strict=True)
        ]
        print(f"{name:8}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
