"""Compare the sweep of a user's script with KerasTuner and Optuna, as their users would write it.

    MLCTL_DATA_DIR=… python tests/benchmarks/script_sweep.py [--rounds 3] [--rows N] [PROGRAM …]

The script is tests/programs/scripts/s4_housing/keras_train.py: a network on the California housing table. The sweep has
eight trials of batch size, epochs and the width of two layers, four at once, with a bandit that compares every second
epoch (Optuna: its median pruner; KerasTuner has none, and trains one trial after another). mlctl runs the script as it
is; the others need the model rewritten as a function. Each round has its own seed.

CPU seconds are those of the whole process tree. mlctl also logs each trial to MLflow, trains the best values again, and
logs and checks that model; the others do not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.tuning import process_tree

HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parent / "programs" / "scripts" / "s4_housing"
PEERS = HERE / "straightforward"
PROGRAMS = ("mlctl", "kerastuner", "optuna")
SWEEP = [
    *("--space", "batch-size=25|50|100", "--space", "number-epochs=5|10|15"),
    *("--space", "first-layer-neurons=2..10:2", "--space", "second-layer-neurons=2..10:2"),
    *("--objective", "min:val_mae", "--trials", "8", "-P", "4", "--stop", "bandit:slack=0.1,interval=2"),
    *("-o", "json"),
]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One sweep: seconds, the best validation error, and the epochs that were trained."""

    wall_s: float
    cpu_s: float
    best: float
    epochs: int


def command(name: str, seed: int) -> list[str]:
    """Return what a user types."""
    if name == "mlctl":
        return [sys.executable, "-m", "mlctl", "tune", "keras_train.py", *SWEEP, "--seed", str(seed)]
    return [sys.executable, str(PEERS / f"script_sweep_{name}.py"), str(seed)]


def measure(name: str, folder: Path, seed: int) -> Measurement:
    """Run one sweep in a folder that has the data."""
    environment = {
        **os.environ,
        "MLCTL_STATE_DIR": str(folder / "state"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    cpu_s: dict[int, float] = {}
    started = time.perf_counter()
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            command(name, seed), cwd=folder, stdout=out, stderr=err, env=environment, start_new_session=True
        )
        while process.poll() is None:
            for member in process_tree(process.pid):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    cpu_s[member.pid] = sum(member.cpu_times()[:2])
            time.sleep(0.05)
    wall_s = time.perf_counter() - started
    text = (folder / "out").read_text()
    if process.returncode:
        raise SystemExit(f"{name} failed: {text}{(folder / 'err').read_text()[-2000:]}")
    if name == "mlctl":
        trials = json.loads(text)["trials"]
        best, epochs = float(trials[0]["score"]), sum(trial["epochs"] for trial in trials)
    else:
        found = re.search(r"best (\S+) after (\d+) epochs", text)
        assert found, text
        best, epochs = float(found[1]), int(found[2])
    return Measurement(wall_s=wall_s, cpu_s=sum(cpu_s.values()), best=best, epochs=epochs)


def prepare(folder: Path, data: Path, rows: int | None) -> None:
    """Copy the script, and write the two tables that it reads."""
    shutil.copy(SCRIPT / "keras_train.py", folder)
    shutil.copytree(SCRIPT / "azureml", folder / "azureml")
    arguments = [str(data / "housing.csv"), *([str(rows)] if rows else [])]
    subprocess.run(
        [sys.executable, str(SCRIPT / "write_pickles.py"), *arguments], cwd=folder, check=True, timeout=120
    )


def main() -> None:
    """Run the sweeps in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("programs", nargs="*", default=list(PROGRAMS), metavar="PROGRAM")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="rows of the table (default: all 20,640)")
    options = parser.parse_args()
    data = Path(os.environ["MLCTL_DATA_DIR"]).resolve()
    measured: dict[str, list[Measurement]] = {name: [] for name in options.programs}
    for number in range(1, options.rounds + 1):
        for name in options.programs:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                prepare(folder, data, options.rows)
                result = measure(name, folder, number)
            measured[name].append(result)
            load = os.getloadavg()[0]
            print(
                f"round {number} {name:10} {result.wall_s:6.1f} s wall {result.cpu_s:6.1f} s CPU"
                f"  best {result.best:9,.0f}  {result.epochs} epochs  load {load:.1f}",
                flush=True,
            )
    print("\n| program | wall s | CPU s | best val_mae | epochs |\n| --- | --- | --- | --- | --- |")
    for name, results in measured.items():
        wall_s, cpu_s, best, epochs = (
            statistics.median(getattr(result, field) for result in results)
            for field in ("wall_s", "cpu_s", "best", "epochs")
        )
        print(f"| {name} | {wall_s:.1f} | {cpu_s:.1f} | {best:,.0f} | {epochs:.0f} |")


if __name__ == "__main__":
    main()
