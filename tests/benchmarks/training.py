"""Compare mlctl train with a plain program: python tests/benchmarks/training.py imdb

Both run as whole processes, in turns, each in its own folder with an existing store. The operating system measures them
(wait4): wall and CPU seconds, peak memory. Both programs measure "data and training" themselves, from the start of
loading to the end of the last epoch. Medians and ratios are printed; a ratio over 1 means that mlctl is better.
On a shared machine, wall time varies much more than CPU time.
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
import time
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
    """Arguments of two programs that do the same, and the ratios that mlctl should reach."""

    mlctl: Sequence[str]
    plain: Sequence[str]
    goals: str


BENCHMARKS = {
    "imdb": Benchmark(
        ["imdb", "--epochs", "10"],
        ["imdb.py"],
        "data and training >= 8x, whole >= 5x, memory >= 10x",
    ),
    "mnist-cnn": Benchmark(
        ["mnist-cnn", "--epochs", "3"],
        ["mnist.py", "3"],
        "an epoch >= 1.8x if the CPU has bfloat16",
    ),
    "mnist-cnn-float32": Benchmark(
        ["mnist-cnn", "--epochs", "3", "--precision", "float32"],
        ["mnist.py", "3"],
        "an epoch >= 1x",
    ),
    "mnist-mlp": Benchmark(["mnist-mlp"], ["mnist_mlp.py"], "none"),
    "housing": Benchmark(["housing"], ["housing.py"], "data and training >= 4x, whole >= 2.5x"),
    "digits": Benchmark(["digits"], ["digits.py"], "whole >= 0.77x: at most 1.3 times the CPU seconds"),
}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Measurements of one process.

    Attributes:
        training_wall_s: Wall seconds of data and training alone.
        training_cpu_s: CPU seconds of data and training alone.
        epoch_cpu_s: Mean CPU seconds of an epoch after the first.

    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    training_wall_s: float
    training_cpu_s: float
    epoch_cpu_s: float


ROWS = {
    "whole, CPU s": "cpu_s",
    "whole, wall s": "wall_s",
    "peak memory, MB": "peak_mb",
    "data and training, CPU s": "training_cpu_s",
    "data and training, wall s": "training_wall_s",
    "an epoch after the first, CPU s": "epoch_cpu_s",
}


def measure(command: Sequence[str], folder: Path) -> Measurement:
    """Run a command in a folder; raises SystemExit if it fails."""
    times_file = folder / "times.json"
    times_file.unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"BENCHMARK_TIMES": str(times_file), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
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
    times = json.loads(times_file.read_text())
    ends = times["epoch_ends_cpu_s"] or [0.0, 0.0]
    return Measurement(
        wall_s=wall,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3),
        training_wall_s=times["wall_s"],
        training_cpu_s=times["cpu_s"],
        epoch_cpu_s=(ends[-1] - ends[0]) / (len(ends) - 1),  # the first epoch includes compilation
    )


def compile_bytecode() -> None:
    """Compile the packages that both sides import, so that neither of them does it while it is measured."""
    for name in IMPORTED:
        spec = importlib.util.find_spec(name)
        for folder in (spec and spec.submodule_search_locations) or ():
            compileall.compile_dir(folder, quiet=2, workers=os.cpu_count() or 1)


def render_table(mlctl: Sequence[Measurement], plain: Sequence[Measurement]) -> str:
    """Return the medians of both sides, and their ratios."""
    lines = [f"{'':<32}{'straightforward':>16}{'mlctl':>10}{'ratio':>8}"]
    for title, field in ROWS.items():
        plain_median, mlctl_median = (
            statistics.median(getattr(measurement, field) for measurement in side) for side in (plain, mlctl)
        )
        lines.append(
            f"{title:<32}{plain_median:>16.2f}{mlctl_median:>10.2f}{plain_median / mlctl_median:>7.2f}x"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--no-compile", action="store_true", help="the bytecode is already compiled")
    options = parser.parse_args()
    if "MLCTL_DATA_DIR" not in os.environ:
        raise SystemExit("set MLCTL_DATA_DIR to the folder with imdb.npz, mnist.npz and housing.csv")
    os.environ["MLCTL_DATA_DIR"] = str(Path(os.environ["MLCTL_DATA_DIR"]).resolve())
    benchmark = BENCHMARKS[options.benchmark]
    commands = {
        "mlctl": [sys.executable, str(HERE / "timed_mlctl.py"), "train", *benchmark.mlctl],
        "plain": [
            *(sys.executable, str(HERE / "straightforward" / benchmark.plain[0])),
            *benchmark.plain[1:],
        ],
    }
    if not options.no_compile:
        compile_bytecode()
    with tempfile.TemporaryDirectory(prefix="mlctl-benchmark-") as temporary:
        folders = {side: Path(temporary) / side for side in commands}
        for folder in folders.values():
            folder.mkdir()
        # the first command that uses a store needs a second or two to create it
        measure([sys.executable, "-c", CREATE_STORE], folders["mlctl"])
        (folders["plain"] / "mlflow.db").write_bytes((folders["mlctl"] / "mlflow.db").read_bytes())
        results: dict[str, list[Measurement]] = {"plain": [], "mlctl": []}
        for _ in range(options.pairs):
            for side, measurements in results.items():
                measurements.append(measure(commands[side], folders[side]))
                print(f"{side}: {measurements[-1]}", file=sys.stderr)
        last_lines = {
            side: (folder / "log.txt").read_text().strip().splitlines()[-1]
            for side, folder in folders.items()
        }
    print(
        f"straightforward: {shlex.join(commands['plain'])}\nmlctl:           {shlex.join(commands['mlctl'])}"
    )
    table = render_table(results["mlctl"], results["plain"])
    print(f"medians of {options.pairs} pairs; goal: {benchmark.goals}\n\n{table}")
    print(f"\nlast line of straightforward: {last_lines['plain']}\nlast line of mlctl: {last_lines['mlctl']}")


CREATE_STORE = """
import json, os, mlflow
mlflow.MlflowClient("sqlite:///mlflow.db").search_experiments()
json.dump({"wall_s": 0.0, "cpu_s": 0.0, "epoch_ends_cpu_s": []}, open(os.environ["BENCHMARK_TIMES"], "w"))
"""

if __name__ == "__main__":
    main()
