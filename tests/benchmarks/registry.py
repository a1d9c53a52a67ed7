"""Compare the cost of a promotion with that of importing MLflow's client, in CPU and wall seconds.

    python -m tests.benchmarks.registry [--rounds 5]

Whole processes are compared, in turns: `python -c "from mlflow import MlflowClient"`, the same with the calls
that every promotion needs, `mlctl promote`, and `mlctl models list`. The `own_*` values are the promotion alone, in a
process that has opened its store.
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
import time
from mlctl.settings import load
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.services.registry import promote
settings = load()
TrackingStore(settings.tracking_uri).client.search_registered_models()
for version in ("1", "2", "1", "2", "1"):
    started = time.monotonic(), time.process_time()
    promote.promote(settings, "M", version, "Production", promote.PromotionRequest())
    print(time.monotonic() - started[0], time.process_time() - started[1])
"""
SETUP = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
client.create_registered_model("M")
for _ in range(2):
    run = client.create_run("0")
    client.create_model_version("M", "s3://nowhere/model", run.info.run_id)
"""


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return the wall and CPU seconds of a process and its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print medians and ratios as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder) / 'mlflow.db'}"
        environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "XDG_CONFIG_HOME": folder}
        subprocess.run([sys.executable, "-c", SETUP, uri], env=environment, check=True, capture_output=True)
        results: dict[str, list[tuple[float, float]]] = {}
        for number in range(rounds + 1):  # the first round fills the disk cache and is not counted
            version = str(number % 2 + 1)
            commands = {
                "import": [sys.executable, "-c", IMPORT],
                "import_and_calls": [sys.executable, "-c", CALLS, uri, version],
                "promote": [sys.executable, "-m", "mlctl", "promote", "M", version, "Production"],
                "models_list": [sys.executable, "-m", "mlctl", "models", "list"],
            }
            for name, command in commands.items():
                result = measure(command, environment)
                if number:
                    results.setdefault(name, []).append(result)
        own = subprocess.run(
            [sys.executable, "-c", OWN], env=environment, check=True, capture_output=True, text=True
        )
    wall = {name: statistics.median(wall for wall, _ in pairs) for name, pairs in results.items()}
    cpu = {name: statistics.median(cpu for _, cpu in pairs) for name, pairs in results.items()}
    (first_wall, first_cpu), *later = (map(float, line.split()) for line in own.stdout.splitlines())
    later_wall, later_cpu = (statistics.median(values) for values in zip(*later, strict=True))
    summary = {
        "cpu_s": {name: round(value, 2) for name, value in cpu.items()},
        "wall_s": {name: round(value, 2) for name, value in wall.items()},
        "promote_to_import_and_calls": round(cpu["promote"] / cpu["import_and_calls"], 2),
        "models_list_to_import_and_calls": round(cpu["models_list"] / cpu["import_and_calls"], 2),
        "own_first_s": round(first_wall, 3),
        "own_later_s": round(later_wall, 3),
        "own_first_cpu_s": round(first_cpu, 3),
        "own_later_cpu_s": round(later_cpu, 3),
    }
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
