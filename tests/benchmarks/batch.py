"""Compare `mlctl predict MODEL FILE --out` with pandas and pyfunc: 1,000,000 rows of housing, as CSV and as Parquet.

    python tests/benchmarks/batch.py [--rows 1000000] [--repeats 3] [--model FOLDER]

Both sides use the same saved model, read the same file and write the answers in the same format. Each run is a new
process, so its start counts. Without --model, a housing model is trained first. The table shows the best of the
repeats: wall seconds, CPU seconds, and the largest memory. MLCTL_DATA_DIR may hold housing.csv.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PYFUNC = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow.pyfunc, pandas as pd
model, source, target = sys.argv[1:]
rows = pd.read_csv(source) if source.endswith(".csv") else pd.read_parquet(source)
loaded = mlflow.pyfunc.load_model(model)
answers = loaded.predict(rows[[column.name for column in loaded.metadata.signature.inputs.inputs]])
frame = pd.DataFrame({"row": range(len(rows)), "value": answers.ravel()})
frame.to_csv(target, index=False) if target.endswith(".csv") else frame.to_parquet(target, index=False)
"""


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    wall_s: float
    cpu_s: float
    memory_mb: float


def measure(command: list[str]) -> Cost:
    """Run a command, and return what it took."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    message = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(message[-2000:])
    cost: resource.struct_rusage = usage
    return Cost(time.perf_counter() - started, cost.ru_utime + cost.ru_stime, cost.ru_maxrss / 1000)


def best(command: list[str], target: Path, repeats: int) -> Cost:
    """Return the least of each cost over some runs; the last run's answers stay."""
    costs = []
    for _ in range(repeats):
        shutil.rmtree(target, ignore_errors=True)
        target.unlink(missing_ok=True)
        costs.append(measure(command))
    return Cost(
        min(cost.wall_s for cost in costs),
        min(cost.cpu_s for cost in costs),
        min(cost.memory_mb for cost in costs),
    )


def train(folder: Path) -> Path:
    """Train a housing model, and return its folder."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/store.db"}
    command = [sys.executable, "-m", "mlctl", "train", "housing", "--epochs", "8", "-o", "json"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    json.loads(done.stdout)
    return next(folder.rglob("MLmodel")).parent


def make_files(folder: Path, rows: int) -> None:
    """Write the rows of the benchmark, which are those of the data set, repeated and shuffled."""
    import pandas as pd

    from mlctl.data.builtin import synthetic

    source = Path(os.environ.get("MLCTL_DATA_DIR", ".")) / "housing.csv"
    table = pd.read_csv(source) if source.is_file() else synthetic.make_housing(20_640)
    repeated = pd.concat([table] * (rows // len(table) + 1))[:rows].sample(frac=1, random_state=0)
    repeated.to_csv(folder / "rows.csv", index=False)
    repeated.to_parquet(folder / "rows.parquet", index=False)


def largest_difference(folder: Path, suffix: str) -> float:
    """Return the largest relative difference of the two sides' answers."""
    import pandas as pd

    read = pd.read_csv if suffix == "csv" else pd.read_parquet
    ours, theirs = (read(folder / f"{side}.{suffix}")["value"].to_numpy() for side in ("mlctl", "pyfunc"))
    assert len(ours) == len(theirs)
    return float((abs(ours - theirs) / abs(theirs)).max())


def in_process(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in another process: the memory of a command that this process starts counts from its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    """Measure both sides and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlctl-bench-") as temporary:
        folder = Path(temporary)
        os.environ["MLCTL_STATE_DIR"] = str(folder / "state")
        model = options.model or train(folder)
        in_process(make_files, folder, options.rows)
        print("| file | side | wall s | CPU s | memory MB |")
        print("| --- | --- | --- | --- | --- |")
        for suffix in ("csv", "parquet"):
            source, costs = str(folder / f"rows.{suffix}"), {}
            for side, command in (
                ("mlctl", [sys.executable, "-m", "mlctl", "predict", str(model), source, "--out"]),
                ("pyfunc", [sys.executable, "-c", PYFUNC, str(model), source]),
            ):
                target = folder / f"{side}.{suffix}"
                costs[side] = cost = best([*command, str(target)], target, options.repeats)
                print(
                    f"| {suffix} | {side} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} | {cost.memory_mb:.0f} |",
                    flush=True,
                )
            ours, theirs = costs["mlctl"], costs["pyfunc"]
            print(
                f"{suffix}: {theirs.wall_s / ours.wall_s:.1f}x as fast, {theirs.cpu_s / ours.cpu_s:.1f}x by CPU time,"
                f" {ours.memory_mb / theirs.memory_mb:.2f} of its memory; the answers differ by at most"
                f" {in_process(largest_difference, folder, suffix):.1e}"
            )


if __name__ == "__main__":
    main()
