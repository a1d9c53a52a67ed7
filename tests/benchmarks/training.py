"""mlctl train against the straightforward program, side by side: python tests/benchmarks/training.py imdb

Both run as whole processes in alternation, each in a folder of its own with a store that is there already,
and are measured by the operating system (wait4): wall and CPU seconds, peak memory. "data and training" is
what both time inside themselves, from the load to the last epoch. Medians, and how many times mlctl is better.
A shared machine's wall is noise: judge by CPU seconds.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import json
import os
import shlex
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
IMPORTED = (
    "keras",
    "tensorflow",
    "mlflow",
    "sklearn",
    "matplotlib",
    "scipy",
    "pandas",
    "numpy",
    "onnxruntime",
)


@dataclass(frozen=True)
class Benchmark:
    """Two programs that do the same, and how often mlctl is to be better: goals by figure."""

    ours: Sequence[str]
    theirs: Sequence[str]
    goals: str


BENCHMARKS = {
    "imdb": Benchmark(
        ["imdb", "--epochs", "10"], ["imdb.py"],
        "data and training >= 8x, whole >= 5x, memory >= 10x",
    ),
    "mnist": Benchmark(
        ["mnist", "--epochs", "3"], ["mnist.py", "3"],
        "an epoch >= 1.8x where the CPU has bfloat16",
    ),
    "mnist-float32": Benchmark(
        ["mnist", "--epochs", "3", "--precision", "float32"], ["mnist.py", "3"],
        "an epoch >= 1x",
    ),
    "mnist-mlp": Benchmark(["mnist-mlp"], ["mnist_mlp.py"], "none fixed"),
    "housing": Benchmark(["housing"], ["housing.py"], "data and training >= 4x, whole >= 2.5x"),
    "digits": Benchmark(["digits"], ["digits.py"], "whole >= 0.77x: at most 1.3 times the CPU seconds"),
}  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """What one process took; `inner` is its data and training alone, `epoch` one epoch after the first."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    inner_wall_s: float
    inner_cpu_s: float
    epoch_cpu_s: float


ROWS = (
    ("whole, CPU s", "cpu_s"), ("whole, wall s", "wall_s"), ("peak memory, MB", "peak_mb"),
    ("data and training, CPU s", "inner_cpu_s"), ("data and training, wall s", "inner_wall_s"), ("an epoch after the first, CPU s", "epoch_cpu_s"),
)  # fmt: skip


def measured(command: Sequence[str], folder: Path) -> Figures:
    """Run a command in a folder and return what it took; raises SystemExit where it fails."""
    import time

    times = folder / "times.json"
    times.unlink(missing_ok=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"BENCHMARK_TIMES": str(times), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    environment |= {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("STATE", "CACHE")}
    started = time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        child = os.fork()
        if not child:
            os.chdir(folder)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            os.execve(command[0], command, environment)
        _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - started
    if status:
        raise SystemExit(f"{shlex.join(command)} failed:\n{(folder / 'log.txt').read_text()[-3000:]}")
    inner = json.loads(times.read_text())
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    ends = inner["epoch_ends_cpu_s"] or [0.0, 0.0]  # what compiles does so in the first epoch
    epoch = (ends[-1] - ends[0]) / (len(ends) - 1)
    return Figures(wall, usage.ru_utime + usage.ru_stime, peak, inner["wall_s"], inner["cpu_s"], epoch)


def compiled() -> None:
    """Compile what both sides import, so that neither pays for the other's first time."""
    for name in IMPORTED:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            continue
        for place in spec.submodule_search_locations:
            compileall.compile_dir(place, quiet=2, workers=os.cpu_count() or 1)


def table(ours: Sequence[Figures], theirs: Sequence[Figures]) -> str:
    """Return medians of both sides, and their ratio."""
    lines = [f"{'':<32}{'straightforward':>16}{'mlctl':>10}{'ratio':>8}"]
    for words, name in ROWS:
        a, b = (statistics.median(getattr(one, name) for one in side) for side in (theirs, ours))
        lines.append(f"{words:<32}{a:>16.2f}{b:>10.2f}{a / b:>7.2f}x")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--no-compile", action="store_true", help="bytecode is there already")
    asked = parser.parse_args()
    if "MLCTL_DATA_DIR" not in os.environ:
        raise SystemExit("set MLCTL_DATA_DIR to the folder with imdb.npz, mnist.npz and housing.csv")
    os.environ["MLCTL_DATA_DIR"] = str(Path(os.environ["MLCTL_DATA_DIR"]).resolve())
    chosen = BENCHMARKS[asked.benchmark]
    ours = [sys.executable, str(HERE / "timed_mlctl.py"), "train", *chosen.ours]
    theirs = [sys.executable, str(HERE / "straightforward" / chosen.theirs[0]), *chosen.theirs[1:]]
    if not asked.no_compile:
        compiled()
    with tempfile.TemporaryDirectory(prefix="mlctl-benchmark-") as temporary:
        folder = Path(temporary)
        found: dict[str, list[Figures]] = {"ours": [], "theirs": []}
        for side in found:
            (folder / side).mkdir()
        # both stores are made beforehand: the first of all commands in a folder pays a second or two for it
        measured([sys.executable, "-c", MAKE_STORE], folder / "ours")
        (folder / "theirs" / "mlflow.db").write_bytes((folder / "ours" / "mlflow.db").read_bytes())
        for _ in range(asked.pairs):
            found["theirs"].append(measured(theirs, folder / "theirs"))
            found["ours"].append(measured(ours, folder / "ours"))
            print(*(f"{side}: {figures[-1]}" for side, figures in found.items()), sep="\n", file=sys.stderr)
        last = [(folder / side / "log.txt").read_text().strip().splitlines()[-1] for side in found]
    print(f"straightforward: {shlex.join(theirs)}\nmlctl:           {shlex.join(ours)}")
    print(f"medians of {asked.pairs} pairs; goal: {chosen.goals}\n\n{table(found['ours'], found['theirs'])}")
    print(f"\nstraightforward's last words: {last[1]}\nmlctl's last words: {last[0]}")


MAKE_STORE = """
import json, os, mlflow
mlflow.MlflowClient("sqlite:///mlflow.db").search_experiments()
json.dump({"wall_s": 0.0, "cpu_s": 0.0, "epoch_ends_cpu_s": []}, open(os.environ["BENCHMARK_TIMES"], "w"))
"""

if __name__ == "__main__":
    main()
