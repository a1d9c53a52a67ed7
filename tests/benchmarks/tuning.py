"""mlctl tune beside KerasTuner, its chief and workers, Optuna and Ray Tune, on one search.

    MLCTL_DATA_DIR=… python tests/benchmarks/tuning.py [--rounds 3] [--no-kills] [PROGRAM …]

Eight trials of three epochs of the MNIST perceptron, three hyperparameters; each program a whole process with
its imports, in turn, in a folder of its own, each round with a seed of its own. The peers need `pip install optuna 'ray[tune]'`. CPU seconds and
memory are those of the whole tree of processes, looked at ten times a second: the system's own account leaves
out children that nobody waited for. Memory is the proportional set size, so that what forked workers share counts
once. Overhead is what a trial takes beside its training: the time from the first trial's beginning to the last
one's end, less the training that went on side by side, for each trial. mlctl also logs every trial to MLflow; and
trains, checks and logs its final model besides, which the others do not. Then each is killed with -9 in its third
trial: first a worker, then the search. A shared machine's wall is noise: judge by CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent / "straightforward"
TRIALS = 8
SEARCH = [
    "mnist-mlp", "--algorithm", "bayesian", "--trials", str(TRIALS), "--epochs", "3", "--finalists", "0",
    "--space", "units=16..64:16", "--space", "optimizer=rmsprop|adam", "--space", "learning_rate=1e-4..1e-2:log",
    "--set", "loss=sparse_categorical_crossentropy", "-o", "json",
]  # fmt: skip
PROGRAMS = ("kerastuner", "chief", "optuna", "raytune", "mlctl-1", "mlctl-2")
AT_ONCE = {"chief": 2, "raytune": 2, "mlctl-2": 2}
HANGS_S = 180


@dataclass(frozen=True)
class Measured:
    """One run of one program."""

    wall_s: float
    cpu_s: float
    memory_mb: float
    overhead_s: float
    best: float


class Program:
    """One of the programs, in a folder of its own."""

    def __init__(self, name: str, data: Path, folder: Path, seed: int = 1) -> None:
        self.name, self.folder = name, folder
        self.environment = {
            **os.environ, "MLCTL_STATE_DIR": str(folder / "state"), "MLCTL_DATA_DIR": str(data),
            "TF_CPP_MIN_LOG_LEVEL": "3", "RAY_USAGE_STATS_ENABLED": "0",
        }  # fmt: skip
        if name.startswith("mlctl"):
            self.command = [
                sys.executable,
                "-m",
                "mlctl",
                "tune",
                *SEARCH,
                "-P",
                name[-1],
                "--seed",
                str(seed),
            ]
        else:
            with socket.socket() as one:
                one.bind(("127.0.0.1", 0))
                port = str(one.getsockname()[1])
            self.command = [
                sys.executable, str(HERE / f"tuning_{name}.py"), str(data / "mnist.npz"), str(folder), port, str(seed),
            ]  # fmt: skip

    def start(self, command: list[str] | None = None) -> subprocess.Popen[str]:
        """Start it, or what goes on with it."""
        with (self.folder / "out").open("w") as out:
            return subprocess.Popen(
                command or self.command, cwd=self.folder, stdout=out, stderr=subprocess.DEVNULL,
                env=self.environment, text=True, start_new_session=True,
            )  # fmt: skip

    @property
    def resumed(self) -> list[str]:
        """What a user types when the search was killed."""
        records = list((self.folder / "state" / "runs").glob("*"))
        if not self.name.startswith("mlctl") or not records:
            return self.command
        return [sys.executable, "-m", "mlctl", "resume", records[0].name, "-o", "json"]

    @property
    def said(self) -> str:
        """What it has printed."""
        return (self.folder / "out").read_text()

    @property
    def best(self) -> float:
        """The best score, as it prints it."""
        if self.name.startswith("mlctl"):
            return float(json.loads(self.said)["trials"][0]["score"])
        return float(self.said.split()[-1])

    def begun(self) -> int:
        """Return how many trials have begun, those that begin again included."""
        if not self.name.startswith("mlctl"):
            return sum(line.startswith("+") for line in self._times())
        return sum(entry["kind"] == "start" for entry in self.journal())

    def overhead_s(self) -> float:
        """Return what a trial takes beside its training."""
        if self.name.startswith("mlctl"):
            entries = self.journal()
            ends = [entry for entry in entries if entry["kind"] == "end"]
            training = sum(entry["seconds"] for entry in entries if entry["kind"] == "epoch")
            whole = max(one["at"] for one in ends) / 1e3 - min(
                one["at"] / 1e3 - one["seconds"] for one in ends
            )
        else:
            begins, ends_ = ([float(line[1:]) for line in self._times() if line[0] == sign] for sign in "+-")
            training, whole = sum(ends_) - sum(begins), max(ends_) - min(begins)
        return (whole - training / AT_ONCE.get(self.name, 1)) / TRIALS

    def _times(self) -> list[str]:
        file = self.folder / "times"
        return file.read_text().splitlines() if file.exists() else []

    def journal(self) -> list[dict[str, Any]]:
        """Return the entries of mlctl's journal."""
        for file in (
            *self.folder.glob("state/runs/*/search.jsonl"),
            *self.folder.glob("mlruns/**/search.jsonl"),
        ):
            return [json.loads(line) for line in file.read_text().split("\n")[:-1]]
        return []


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def measured(program: Program) -> Measured:
    """Run a program once."""
    started = time.perf_counter()
    process = program.start()
    spent: dict[int, float] = {}
    peak = 0.0
    while process.poll() is None:
        memory = 0.0
        for one in tree(process.pid):
            try:
                times = one.cpu_times()
                spent[one.pid] = times.user + times.system
                memory += one.memory_full_info().pss / 1e6
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        peak = max(peak, memory)
        time.sleep(0.1)
    wall = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{program.name} failed: {program.said}")
    return Measured(wall, sum(spent.values()), peak, program.overhead_s(), program.best)


def until_third_trial(program: Program) -> subprocess.Popen[str]:
    """Start a program and return when three trials have begun."""
    process = program.start()
    end = time.monotonic() + HANGS_S
    while program.begun() < 3 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    return process


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a program; return how it ended."""
    started = time.monotonic()
    try:
        code = process.wait(HANGS_S)
    except subprocess.TimeoutExpired:
        for one in reversed(tree(process.pid)):
            one.kill()
        process.wait()
        return f"hangs (given up after {HANGS_S} s)"
    return f"ends {time.monotonic() - started:.0f} s later, exit {code}"


def worker_killed(program: Program) -> str:
    """Kill what trains with -9; return what comes of it."""
    process = until_third_trial(program)
    children = tree(process.pid)[1:]
    if not children:
        ended(process)
        return "has no worker"
    busy = max(children, key=lambda one: sum(one.cpu_times()[:2]))
    if program.name.startswith("mlctl"):  # the newest: the first forks them, and has paid for the imports
        busy = children[-1]
    known, killed = len(program.journal()), time.monotonic()
    busy.kill()
    noticed = trained_again(program, known, killed) if program.name.startswith("mlctl") else ""
    return f"{noticed}{ended(process)}, {program.begun()} trials begun for {TRIALS}"


def trained_again(program: Program, known: int, killed: float) -> str:
    """Return how long after a kill the search knew of it, and how long after it the trial had an epoch again."""
    noticed = 0.0
    while time.monotonic() < killed + HANGS_S:
        entries = program.journal()[known:]
        lost = next((number for number, one in enumerate(entries) if one["kind"] == "lost"), None)
        if lost is not None:
            noticed = noticed or time.monotonic() - killed
            trial = entries[lost]["trial"]
            if any(one["kind"] == "epoch" and one["trial"] == trial for one in entries[lost:]):
                again = time.monotonic() - killed
                return f"noticed after {noticed:.2f} s, an epoch again after {again:.1f} s, "
        time.sleep(0.005)
    return ""


def search_killed(program: Program) -> str:
    """Kill the search with -9 and go on with it; return what it left and what was trained again."""
    process = until_third_trial(program)
    children = tree(process.pid)[1:]
    process.kill()
    process.wait()
    time.sleep(1)
    left = [one for one in children if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    for one in left:
        one.kill()
    how = ended(program.start(program.resumed))
    return f"{len(left)} processes left after 1 s; gone on with, {how}, {program.begun()} trials begun for {TRIALS}"


def lines(name: str) -> int:
    """Return how many lines its user writes."""
    if name.startswith("mlctl"):
        return 1
    files = [f"tuning_{name}.py"] + (["tuning_kerastuner.py"] if name == "chief" else [])
    whole = [line for file in files for line in (HERE / file).read_text().splitlines()]
    return sum(bool(line.strip()) and not line.startswith(('"""', "#")) for line in whole)


def main() -> None:
    """Run all programs in turn, and print the medians; then what kills leave."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-kills", action="store_true")
    parser.add_argument("programs", nargs="*", default=PROGRAMS)
    asked = parser.parse_args()
    data = Path(os.environ.get("MLCTL_DATA_DIR", "data")).absolute()
    found: dict[str, list[Measured]] = {name: [] for name in asked.programs}
    for number in range(asked.rounds):
        for name, runs in found.items():
            with tempfile.TemporaryDirectory(prefix="mlctl-tuning-", ignore_cleanup_errors=True) as folder:
                runs.append(measured(Program(name, data, Path(folder), seed=number + 1)))
            print(f"{name:<12}{runs[-1]}", file=sys.stderr)
    titles = ("wall s", "CPU s", "MB", "s a trial", "best", "trials/h", "lines")
    print(f"{'program':<12}" + "".join(f"{title:>10}" for title in titles))
    for name, runs in found.items():
        fields = ("wall_s", "cpu_s", "memory_mb", "overhead_s", "best")
        wall, cpu, memory, overhead, best = (
            statistics.median(getattr(one, field) for one in runs) for field in fields
        )
        print(
            f"{name:<12}{wall:>10.1f}{cpu:>10.1f}{memory:>10.0f}{overhead:>10.2f}{best:>10.4f}"
            f"{TRIALS / wall * 3600:>10.0f}{lines(name):>10}"
        )
    for title, kill in (("a worker", worker_killed), ("the search", search_killed)):
        for name in () if asked.no_kills else asked.programs:
            with tempfile.TemporaryDirectory(prefix="mlctl-tuning-", ignore_cleanup_errors=True) as folder:
                print(f"kill -9 of {title}: {name:<12}{kill(Program(name, data, Path(folder)))}", flush=True)


if __name__ == "__main__":
    main()
