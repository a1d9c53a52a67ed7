"""Compare mlctl tune with KerasTuner, KerasTuner's chief and workers, Optuna and Ray Tune, on one search.

    MLCTL_DATA_DIR=… python tests/benchmarks/tuning.py [--rounds 3] [--no-kills] [PROGRAM …]

The search has eight trials of three epochs of the MNIST perceptron, and three hyperparameters. Each program runs as a
whole process with its imports, in turn, in its own folder; each round has its own seed. The other programs need
`pip install optuna 'ray[tune]'`.

- CPU seconds and memory are those of the whole process tree, sampled ten times per second, because the system's
  totals leave out children that nobody waited for. Memory is the proportional set size, so that pages that forked
  workers share count once.
- The overhead per trial is the time from the start of the first trial to the end of the last one, minus the training
  that went on in parallel, divided by the number of trials.
- mlctl also logs every trial to MLflow, and trains, checks and logs its final model; the others do not.

Then a worker, and afterwards the search, is killed with -9 during the third trial. On a shared machine, wall time
varies much more than CPU time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.parts import free_port

HERE = Path(__file__).resolve().parent / "straightforward"
TRIALS = 8
SEARCH = [
    *("mnist-mlp", "--algorithm", "bayesian", "--trials", str(TRIALS), "--epochs", "3", "--finalists", "0"),
    *("--space", "units=16..64:16", "--space", "optimizer=rmsprop|adam"),
    *("--space", "learning_rate=1e-4..1e-2:log", "--set", "loss=sparse_categorical_crossentropy"),
    *("-o", "json"),
]
PROGRAMS = ("kerastuner", "chief", "optuna", "raytune", "mlctl-1", "mlctl-2")
PARALLEL_TRIALS = {"chief": 2, "raytune": 2, "mlctl-2": 2}
HANG_TIMEOUT_S = 180


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One run of one program."""

    wall_s: float
    cpu_s: float
    memory_mb: float
    overhead_s: float
    best: float


class Program:
    """One of the programs, in its own folder."""

    def __init__(self, name: str, data: Path, folder: Path, seed: int = 1) -> None:
        self.name, self.folder = name, folder
        self.is_mlctl = name.startswith("mlctl")
        self.environment = {
            **os.environ,
            "MLCTL_STATE_DIR": str(folder / "state"),
            "MLCTL_DATA_DIR": str(data),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        if self.is_mlctl:
            mlctl = [sys.executable, "-m", "mlctl", "tune"]
            self.command = [*mlctl, *SEARCH, "-P", name[-1], "--seed", str(seed)]
        else:
            program = [sys.executable, str(HERE / f"tuning_{name}.py")]
            arguments = (data / "mnist.npz", folder, free_port(), seed)
            self.command = [*program, *map(str, arguments)]

    def start(self, command: list[str] | None = None) -> subprocess.Popen[str]:
        """Start the program, or another command in its folder."""
        with (self.folder / "out").open("w") as out:
            return subprocess.Popen(
                command or self.command,
                cwd=self.folder,
                stdout=out,
                stderr=subprocess.DEVNULL,
                env=self.environment,
                text=True,
                start_new_session=True,
            )

    def resume_command(self) -> list[str]:
        """Return what a user types after the search was killed."""
        records = list((self.folder / "state" / "runs").glob("*"))
        if not self.is_mlctl or not records:
            return self.command
        return [sys.executable, "-m", "mlctl", "resume", records[0].name, "-o", "json"]

    @property
    def output(self) -> str:
        """What the program has printed."""
        return (self.folder / "out").read_text()

    @property
    def best(self) -> float:
        """The best score that the program printed."""
        if self.is_mlctl:
            return float(json.loads(self.output)["trials"][0]["score"])
        return float(self.output.split()[-1])

    def count_starts(self) -> int:
        """Return how many trials have started, including repeated starts."""
        if not self.is_mlctl:
            return len(self._times("+"))
        return sum(entry["kind"] == "start" for entry in self.journal())

    def overhead_s(self) -> float:
        """Return the seconds per trial that are not training."""
        if self.is_mlctl:
            entries = self.journal()
            ends = [entry for entry in entries if entry["kind"] == "end"]
            training = sum(entry["seconds"] for entry in entries if entry["kind"] == "epoch")
            first_start = min(end["at"] / 1e3 - end["seconds"] for end in ends)
            total = max(end["at"] for end in ends) / 1e3 - first_start
        else:
            start_times, end_times = self._times("+"), self._times("-")
            training = sum(end_times) - sum(start_times)
            total = max(end_times) - min(start_times)
        return (total - training / PARALLEL_TRIALS.get(self.name, 1)) / TRIALS

    def _times(self, sign: str) -> list[float]:
        """Return the times at which trainings started (+) or ended (-)."""
        file = self.folder / "times"
        lines = file.read_text().splitlines() if file.exists() else []
        return [float(line[1:]) for line in lines if line[0] == sign]

    def journal(self) -> list[dict[str, Any]]:
        """Return the entries of mlctl's journal."""
        for pattern in ("state/runs/*/search.jsonl", "mlruns/**/search.jsonl"):
            for file in self.folder.glob(pattern):
                return [json.loads(line) for line in file.read_text().split("\n")[:-1]]
        return []


def process_tree(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def measure(program: Program) -> Measurement:
    """Run a program once."""
    started = time.perf_counter()
    process = program.start()
    cpu_s: dict[int, float] = {}
    peak_mb = 0.0
    while process.poll() is None:
        memory_mb = 0.0
        for member in process_tree(process.pid):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                cpu_s[member.pid] = sum(member.cpu_times()[:2])
                memory_mb += member.memory_full_info().pss / 1e6
        peak_mb = max(peak_mb, memory_mb)
        time.sleep(0.1)
    wall_s = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{program.name} failed: {program.output}")
    return Measurement(
        wall_s=wall_s,
        cpu_s=sum(cpu_s.values()),
        memory_mb=peak_mb,
        overhead_s=program.overhead_s(),
        best=program.best,
    )


def start_until_third_trial(program: Program) -> subprocess.Popen[str]:
    """Start a program and return when three trials have started."""
    process = program.start()
    deadline = time.monotonic() + HANG_TIMEOUT_S
    while program.count_starts() < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return process


def wait_for_end(process: subprocess.Popen[str]) -> str:
    """Wait for a program; return how it ended."""
    started = time.monotonic()
    try:
        code = process.wait(HANG_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        for member in reversed(process_tree(process.pid)):
            member.kill()
        process.wait()
        return f"hangs (killed after {HANG_TIMEOUT_S} s)"
    return f"ends {time.monotonic() - started:.0f} s later, exit {code}"


def kill_worker(program: Program) -> str:
    """Kill a training process with -9; return what happens then."""
    process = start_until_third_trial(program)
    workers = process_tree(process.pid)[1:]
    if not workers:
        wait_for_end(process)
        return "has no worker"
    worker = max(workers, key=lambda worker: sum(worker.cpu_times()[:2]))
    if program.is_mlctl:  # its first child forks the others, and has the CPU time of the imports
        worker = workers[-1]
    known, killed_at = len(program.journal()), time.monotonic()
    worker.kill()
    recovery = wait_for_recovery(program, known, killed_at) if program.is_mlctl else ""
    return f"{recovery}{wait_for_end(process)}, {program.count_starts()} starts of {TRIALS} trials"


def wait_for_recovery(program: Program, known: int, killed_at: float) -> str:
    """Return how long after a kill the search noticed it, and how long after it the trial had another epoch."""
    noticed_s = 0.0
    while time.monotonic() < killed_at + HANG_TIMEOUT_S:
        entries = program.journal()[known:]
        lost = next((number for number, entry in enumerate(entries) if entry["kind"] == "lost"), None)
        if lost is not None:
            noticed_s = noticed_s or time.monotonic() - killed_at
            trial = entries[lost]["trial"]
            if any(entry["kind"] == "epoch" and entry["trial"] == trial for entry in entries[lost:]):
                epoch_s = time.monotonic() - killed_at
                return f"noticed after {noticed_s:.2f} s, next epoch after {epoch_s:.1f} s, "
        time.sleep(0.005)
    return ""


def kill_search(program: Program) -> str:
    """Kill the search with -9 and resume it; return what it left behind and what was trained again."""
    process = start_until_third_trial(program)
    workers = process_tree(process.pid)[1:]
    process.kill()
    process.wait()
    time.sleep(1)
    left = [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]
    for worker in left:
        worker.kill()
    end = wait_for_end(program.start(program.resume_command()))
    return f"{len(left)} processes left after 1 s; resumed, {end}, {program.count_starts()} starts of {TRIALS} trials"


def count_lines(name: str) -> int:
    """Return how many lines a user of this program writes."""
    if name.startswith("mlctl"):
        return 1
    files = [f"tuning_{name}.py", *(["tuning_kerastuner.py"] if name == "chief" else [])]
    lines = [line for file in files for line in (HERE / file).read_text().splitlines()]
    return sum(bool(line.strip()) and not line.startswith(('"""', "#")) for line in lines)


def main() -> None:
    """Run all programs in turn and print the medians; then print what happens after kills."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-kills", action="store_true")
    parser.add_argument("programs", nargs="*", default=PROGRAMS)
    options = parser.parse_args()
    data = Path(os.environ.get("MLCTL_DATA_DIR", "data")).absolute()

    @contextlib.contextmanager
    def new_program(name: str, seed: int = 1) -> Iterator[Program]:
        with tempfile.TemporaryDirectory(prefix="mlctl-tuning-", ignore_cleanup_errors=True) as folder:
            yield Program(name, data, Path(folder), seed)

    results: dict[str, list[Measurement]] = {name: [] for name in options.programs}
    for number in range(options.rounds):
        for name, runs in results.items():
            with new_program(name, seed=number + 1) as program:
                runs.append(measure(program))
            print(f"{name:<12}{runs[-1]}", file=sys.stderr)
    titles = ("wall s", "CPU s", "MB", "s a trial", "best", "trials/h", "lines")
    print(f"{'program':<12}" + "".join(f"{title:>10}" for title in titles))
    for name, runs in results.items():
        fields = ("wall_s", "cpu_s", "memory_mb", "overhead_s", "best")
        wall, cpu, memory, overhead, best = (
            statistics.median(getattr(run, field) for run in runs) for field in fields
        )
        print(
            f"{name:<12}{wall:>10.1f}{cpu:>10.1f}{memory:>10.0f}{overhead:>10.2f}{best:>10.4f}"
            f"{TRIALS / wall * 3600:>10.0f}{count_lines(name):>10}"
        )
    if options.no_kills:
        return
    for title, kill in (("a worker", kill_worker), ("the search", kill_search)):
        for name in options.programs:
            with new_program(name) as program:
                print(f"kill -9 of {title}: {name:<12}{kill(program)}", flush=True)


if __name__ == "__main__":
    main()
