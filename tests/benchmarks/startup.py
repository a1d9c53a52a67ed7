"""What start-up costs: mlctl beside a bare Typer program of two commands, and beside MLflow.

    python tests/benchmarks/startup.py [PAIRS]

Both sides run in alternation, warm, with their bytecode compiled, so that a busy machine slows both. The
medians of wall and CPU seconds are printed, and the ratios: `mlctl --help` should cost at most 1.5 times
what the bare program's does.
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


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return the wall and the CPU seconds of one run."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


def main(pairs: int) -> int:
    """Measure, print the table, and return 0 where the goal is met."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        environment["PYTHONPYCACHEPREFIX"] = (
            f"{folder}/compiled"  # both sides from bytecode, wherever they live
        )
        environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/none.db"
        package = Path(folder) / "bare"
        package.mkdir()
        (package / "__main__.py").write_text(BARE, encoding="utf-8")
        (package / "__init__.py").touch()
        environment["PYTHONPATH"] = os.pathsep.join([folder, str(Path(__file__).parents[2])])
        python = [sys.executable, "-m"]
        lines = {
            "bare Typer --help": [*python, "bare", "--help"],
            "mlctl --help": [*python, "mlctl", "--help"],
            "bare Typer train --help": [*python, "bare", "train", "--help"],
            "mlctl train --help": [*python, "mlctl", "train", "--help"],
            "mlctl --version": [*python, "mlctl", "--version"],
            "a TAB press (runs)": [*python, "mlctl", "__complete", "RUN", "x"],
        }
        slow = {"mlflow --help": [*python, "mlflow", "--help"]}
        for command in {**lines, **slow}.values():
            timed(command, environment)
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in {**lines, **slow}}
        for number in range(pairs):
            for name, command in {**lines, **(slow if number < 3 else {})}.items():
                measured[name].append(timed(command, environment))
    medians = {
        name: (statistics.median(w for w, _ in values), statistics.median(c for _, c in values))
        for name, values in measured.items()
    }
    base = medians["bare Typer --help"]
    print(f"{'command':26} {'runs':>4} {'wall s':>8} {'CPU s':>8} {'wall ratio':>11} {'CPU ratio':>10}")
    for name, (wall, cpu) in medians.items():
        runs = len(measured[name])
        print(f"{name:26} {runs:4} {wall:8.3f} {cpu:8.3f} {wall / base[0]:11.2f} {cpu / base[1]:10.2f}")
    ratio = medians["mlctl --help"][1] / base[1]
    print(f"\nmlctl --help costs {ratio:.2f} times the CPU of a bare Typer program's; the goal is {GOAL}")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
