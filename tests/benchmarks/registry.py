"""What promoting costs beside importing MLflow's client, in CPU seconds and in wall seconds.

    python -m tests.benchmarks.registry [--rounds 5]

Compared are whole processes, turn by turn: `python -c "from mlflow import MlflowClient"`, the same with the calls
that a promotion cannot do without, `mlctl promote`, and `mlctl models list`. `own_s` is the promotion alone,
in a process that has its store open.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORT = "from mlflow import MlflowClient"
CALLS = """
import sys, warnings
warnings.simplefilter("ignore")
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
client.get_registered_model("M")
client.search_model_versions("name='M'")
client.get_run(client.get_model_version("M", sys.argv[2]).run_id)
client.set_registered_model_tag("M", f"note.{sys.argv[2]}", "promoted")
client.set_registered_model_alias("M", "production", sys.argv[2])
client.transition_model_version_stage("M", sys.argv[2], "Production", True)
client.get_registered_model("M")
client.search_model_versions("name='M'")
"""
OWN = """
import sys, time
from mlctl.settings import load
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.services.registry import promote
settings = load()
TrackingStore(settings.tracking_uri).client.search_registered_models()
for version in ("1", "2", "1", "2", "1"):
    began = time.monotonic(), time.process_time()
    promote.promote(settings, "M", version, "Production", promote.PromotionRequest())
    print(time.monotonic() - began[0], time.process_time() - began[1])
"""
MAKE = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
client.create_registered_model("M")
for _ in range(2):
    run = client.create_run("0")
    client.create_model_version("M", "s3://nowhere/model", run.info.run_id)
"""


def cost(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return (wall, CPU) seconds of one process with its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print medians and ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder) / 'mlflow.db'}"
        environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "XDG_CONFIG_HOME": folder}
        subprocess.run([sys.executable, "-c", MAKE, uri], env=environment, check=True, capture_output=True)
        taken: dict[str, list[tuple[float, float]]] = {}
        for number in range(rounds + 1):  # the first warms the disk
            version = str(number % 2 + 1)
            commands = {
                "import": [sys.executable, "-c", IMPORT],
                "import_and_calls": [sys.executable, "-c", CALLS, uri, version],
                "promote": [sys.executable, "-m", "mlctl", "promote", "M", version, "Production"],
                "models_list": [sys.executable, "-m", "mlctl", "models", "list"],
            }
            for name, command in commands.items():
                found = cost(command, environment)
                if number:
                    taken.setdefault(name, []).append(found)
        own = subprocess.run(
            [sys.executable, "-c", OWN], env=environment, check=True, capture_output=True, text=True
        )
    wall = {name: statistics.median(one[0] for one in values) for name, values in taken.items()}
    cpu = {name: statistics.median(one[1] for one in values) for name, values in taken.items()}
    alone = [tuple(map(float, line.split())) for line in own.stdout.splitlines()]
    print(
        json.dumps(
            {
                "cpu_s": {name: round(value, 2) for name, value in cpu.items()},
                "wall_s": {name: round(value, 2) for name, value in wall.items()},
                "promote_to_import_and_calls": round(cpu["promote"] / cpu["import_and_calls"], 2),
                "models_list_to_import_and_calls": round(cpu["models_list"] / cpu["import_and_calls"], 2),
                "own_first_s": round(alone[0][0], 3),
                "own_later_s": round(statistics.median(one[0] for one in alone[1:]), 3),
                "own_first_cpu_s": round(alone[0][1], 3),
                "own_later_cpu_s": round(statistics.median(one[1] for one in alone[1:]), 3),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
