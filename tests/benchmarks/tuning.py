"""mlctl tune beside KerasTuner and Optuna on one search: MLCTL_DATA_DIR=… python tests/benchmarks/tuning.py

Eight trials of three epochs of the MNIST perceptron, three hyperparameters; each program a whole process with
its imports, in turn, in a folder of its own. CPU seconds and memory are those of the whole tree of processes,
looked at twenty times a second: the system's own account leaves out children that nobody waited for. Memory is
the proportional set size, so that what forked workers share counts once. mlctl also logs every trial to MLflow;
and trains, checks and logs its final model besides, which the others do not.
A shared machine's wall is noise: judge by CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent / "straightforward"
SEARCH = [
    "mnist-mlp", "--algorithm", "bayesian", "--trials", "8", "--epochs", "3", "--finalists", "0",
    "--space", "units=16..64:16", "--space", "optimizer=rmsprop|adam", "--space", "learning_rate=1e-4..1e-2:log",
    "--set", "loss=sparse_categorical_crossentropy", "-o", "json",
]  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One run of one program."""

    wall_s: float
    cpu_s: float
    memory_mb: float
    best: float


def measured(command: list[str], folder: Path) -> tuple[float, float, float, str]:
    """Run a program; return wall, CPU and peak memory of its tree, and what it printed."""
    began = time.perf_counter()
    environment = {**os.environ, "MLCTL_STATE_DIR": str(folder / "state")}
    with (folder / "out").open("w+") as out:
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=subprocess.DEVNULL, env=environment
        )
        spent: dict[int, float] = {}
        peak = 0.0
        while process.poll() is None:
            memory = 0.0
            for one in _tree(process.pid):
                try:
                    times = one.cpu_times()
                    spent[one.pid] = times.user + times.system
                    memory += one.memory_full_info().pss / 1e6
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
            peak = max(peak, memory)
            time.sleep(0.05)
        wall = time.perf_counter() - began
        out.seek(0)
        said = out.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {said}")
    return wall, sum(spent.values()), peak, said


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def run(name: str, data: Path) -> Measured:
    """Run one of the programs once."""
    with tempfile.TemporaryDirectory(prefix="mlctl-tuning-") as temporary:
        folder = Path(temporary)
        if name.startswith("mlctl"):
            command = [sys.executable, "-m", "mlctl", "tune", *SEARCH, "-P", name[-1]]
        else:
            command = [sys.executable, str(HERE / f"tuning_{name}.py"), str(data / "mnist.npz"), temporary]
        wall, cpu, memory, said = measured(command, folder)
        best = json.loads(said)["trials"][0]["score"] if name.startswith("mlctl") else float(said.split()[-1])
        return Measured(wall, cpu, memory, best)


def main() -> None:
    """Run all programs in turn, and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("programs", nargs="*", default=["kerastuner", "optuna", "mlctl-1", "mlctl-2"])
    asked = parser.parse_args()
    data = Path(os.environ.get("MLCTL_DATA_DIR", "data"))
    found: dict[str, list[Measured]] = {name: [] for name in asked.programs}
    for _ in range(asked.rounds):
        for name, runs in found.items():
            runs.append(run(name, data))
            print(f"{name:<12}{runs[-1]}", file=sys.stderr)
    print(f"{'program':<12}{'wall s':>9}{'CPU s':>9}{'MB':>9}{'best':>9}{'trials/h':>10}")
    for name, runs in found.items():
        wall, cpu, memory, best = (
            statistics.median(getattr(one, field) for one in runs)
            for field in ("wall_s", "cpu_s", "memory_mb", "best")
        )
        print(f"{name:<12}{wall:>9.1f}{cpu:>9.1f}{memory:>9.0f}{best:>9.4f}{8 / wall * 3600:>10.0f}")


if __name__ == "__main__":
    main()
