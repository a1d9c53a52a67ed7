"""Measure what every command costs, beside the nearest command of the `mlflow` program.

    python tests/benchmarks/commands.py [--store sqlite|postgres|server] [--rounds 3] [--only WORD]

A store is made with some runs, a search and a registered model; then each command runs on a terminal of 80 columns,
`--rounds` times. Printed per command: the least CPU seconds, those of the command and all its processes; the seconds
until something appears on the terminal; CPU seconds of mlflow's command, and the ratio. The commands that write do so
to that store. Bytecode is compiled first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.parts import postgres
from tests.parts.postgres import PASSWORD

# each command with mlflow's nearest, "" for none
COMMANDS = {
    "--help": "--help",
    "runs list": "runs list --experiment-id 1",
    "runs show last": "runs describe --run-id {run}",
    "runs diff {run} {other}": "",
    "runs plot {run}": "",
    "runs artifacts {run}": "artifacts list --run-id {run}",
    "experiments": "experiments search",
    "models list": "",
    "models show digits": "",
    "models history digits": "",
    "recipes list": "",
    "endpoints list": "",
    "server-status": "",
    "doctor": "doctor",
    "tune digits --dry-run": "",
    "promote digits 1 Staging": "",
    "register {other} digits --force": "",
    "promote digits 2 Staging": "",
    "rollback digits Staging --to 1 --dry-run": "",
    "models set digits 1 --description text": "",
    "runs delete {spare} --yes": "runs delete --run-id {spare}",
}
FINE = {0, 3, 5}  # no such server, a finding of the doctor


def main() -> None:
    """Print one line per command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", choices=["sqlite", "postgres", "server"], default="sqlite")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="only commands that contain this word")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, store(options.store, Path(folder)) as environment:
        names = fill(environment)
        print(f"{'command':50} {'CPU s':>6} {'first':>6} {'mlflow':>7} {'ratio':>6}")
        for command, nearest in COMMANDS.items():
            if options.only not in command:
                continue
            cpu, first = measure("mlctl", command.format(**names), environment, options.rounds)
            line = f"mlctl {command:44} {cpu:6.2f} {first:6.2f}"
            if nearest:
                rounds = 1 if "delete" in nearest else options.rounds
                other, _ = measure("mlflow", nearest.format(**names), environment, rounds)
                line += f" {other:7.2f} {cpu / other:6.2f}"
            print(line, flush=True)


@contextlib.contextmanager
def store(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of a new store of this kind."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {
        "MLCTL_STATE_DIR": str(folder / "state"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
        "COLUMNS": "80",
        "TERM": "xterm-256color",
        "HOME": str(folder),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    environment.pop("MLCTL_TRACKING_URI", None)
    os.chdir(folder)
    with contextlib.ExitStack() as stack:
        if kind == "postgres":
            server = stack.enter_context(postgres.running())
            environment["PGPASSWORD"] = PASSWORD
            uri = server.uri(server.new_database())
            environment["MLFLOW_TRACKING_URI"] = uri.replace("postgresql://", "postgresql+psycopg2://")
        if kind == "server":
            run(["mlctl", "server-up", "--port", "5999"], environment)
            stack.callback(run, ["mlctl", "server-down"], environment)
            environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:5999"
        yield environment


def fill(environment: dict[str, str]) -> dict[str, str]:
    """Make runs and a registered model; return the ids by the names that the commands use."""
    found = {}
    for name in ("other", "spare", "run"):
        train = ["mlctl", "train", "digits", "--set", "epochs=2", "--run-name", name]
        if name == "run":
            train += ["--register", "digits"]
        run(train, environment)
        shown = run(["mlctl", "runs", "list", "-o", "json", "--limit", "1"], environment)
        found[name] = json.loads(shown)[0]["run_id"]
    return found


def run(command: list[str], environment: dict[str, str]) -> str:
    """Run a command; return what it writes to stdout. Raises SystemExit with its output if it fails."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def measure(program: str, arguments: str, environment: dict[str, str], rounds: int) -> tuple[float, float]:
    """Return the least CPU seconds, and the least seconds until something appears on the terminal."""
    path = shutil.which(program, path=environment["PATH"])
    assert path
    found = [once([path, *arguments.split()], environment) for _ in range(rounds)]
    return min(cpu for cpu, _ in found), min(first for _, first in found)


def once(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command on a terminal of its own; return its CPU seconds, and the seconds until its first output."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    child, terminal = pty.fork()
    if child == 0:
        os.execve(command[0], command, environment)
    first = None
    with contextlib.suppress(OSError):  # the terminal is closed at the end
        while os.read(terminal, 65_536):
            first = first or time.perf_counter() - started
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    if os.waitstatus_to_exitcode(status) not in FINE:
        print(f"the next one failed: {' '.join(command)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, first or 0.0


if __name__ == "__main__":
    main()
