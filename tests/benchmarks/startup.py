"""Compare the start of mlctl with that of a Typer program with two commands, and of MLflow.

    python tests/benchmarks/startup.py [PAIRS]

The commands run in turns, with compiled bytecode and a warm disk cache, so that a busy machine slows all of them.
Medians of wall and CPU seconds and their ratios are printed. The goal: `mlctl --help` costs at most 1.5 times the CPU
of the Typer program's help.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = '''
import typer

app = typer.Typer()


@app.command()
def train(source: str, epochs: int = 10) -> None:
    """Train it."""


@app.command()
def show(run: str) -> None:
    """Show it."""


if __name__ == "__main__":
    app()
'''
GOAL = 1.5


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return the wall and CPU seconds of one run."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


def main(pairs: int) -> int:
    """Measure, print the table, and return 0 if the goal is reached, else 1."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        # all programs have compiled bytecode, even if the folder of their source cannot be written
        environment["PYTHONPYCACHEPREFIX"] = f"{folder}/compiled"
        environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/none.db"
        package = Path(folder) / "bare"
        package.mkdir()
        (package / "__main__.py").write_text(BARE, encoding="utf-8")
        (package / "__init__.py").touch()
        environment["PYTHONPATH"] = os.pathsep.join([folder, str(Path(__file__).parents[2])])
        python = [sys.executable, "-m"]
        commands = {
            "bare Typer --help": [*python, "bare", "--help"],
            "mlctl --help": [*python, "mlctl", "--help"],
            "bare Typer train --help": [*python, "bare", "train", "--help"],
            "mlctl train --help": [*python, "mlctl", "train", "--help"],
            "mlctl --version": [*python, "mlctl", "--version"],
            "a TAB press (runs)": [*python, "mlctl", "__complete", "RUN", "x"],
            "mlflow --help": [*python, "mlflow", "--help"],
        }
        for command in commands.values():
            measure(command, environment)
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(pairs):
            for name, command in commands.items():
                if name != "mlflow --help" or number < 3:  # it takes seconds
                    results[name].append(measure(command, environment))
    medians = {
        name: (statistics.median(wall for wall, _ in times), statistics.median(cpu for _, cpu in times))
        for name, times in results.items()
    }
    bare_wall, bare_cpu = medians["bare Typer --help"]
    print(f"{'command':26} {'runs':>4} {'wall s':>8} {'CPU s':>8} {'wall ratio':>11} {'CPU ratio':>10}")
    for name, (wall, cpu) in medians.items():
        runs = len(results[name])
        print(f"{name:26} {runs:4} {wall:8.3f} {cpu:8.3f} {wall / bare_wall:11.2f} {cpu / bare_cpu:10.2f}")
    ratio = medians["mlctl --help"][1] / bare_cpu
    print(f"\nmlctl --help costs {ratio:.2f} times the CPU of the Typer program's help; the goal is {GOAL}")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
