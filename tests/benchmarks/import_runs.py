"""Import a file store of many runs into SQLite with `mlctl import`.

    python -m tests.benchmarks.import_runs --runs 10000

Each run has 10 parameters, 8 tags, 5 metrics of 20 values and one artifact. Prints the wall and CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

META = """artifact_uri: {folder}/artifacts
end_time: 1700000001000
entry_point_name: ''
experiment_id: '1'
lifecycle_stage: active
run_id: {run_id}
run_name: run-{number}
run_uuid: {run_id}
source_name: ''
source_type: 4
source_version: ''
start_time: {started}
status: 3
tags: []
user_id: ada
"""


def fill(root: Path, runs: int) -> None:
    """Write a file store."""
    experiment = root / "1"
    experiment.mkdir(parents=True)
    (experiment / "meta.yaml").write_text(
        f"artifact_location: {experiment}\ncreation_time: 1700000000000\nexperiment_id: '1'\n"
        "last_update_time: 1700000000000\nlifecycle_stage: active\nname: old\n"
    )
    lines = "".join(f"{1_700_000_000_000 + step} {0.5 / (step + 1)} {step}\n" for step in range(20))
    for number in range(runs):
        run_id = uuid.uuid4().hex
        folder = experiment / run_id
        for part in ("params", "tags", "metrics", "artifacts"):
            (folder / part).mkdir(parents=True)
        (folder / "meta.yaml").write_text(
            META.format(folder=folder, run_id=run_id, number=number, started=1_700_000_000_000 + number)
        )
        for index in range(10):
            (folder / "params" / f"p{index}").write_text(str(index))
        for index in range(8):
            (folder / "tags" / f"t{index}").write_text("value")
        for index in range(5):
            (folder / "metrics" / f"m{index}").write_text(lines)
        (folder / "artifacts" / "note.txt").write_text("x" * 1000)


def main() -> int:
    """Make the store, import it, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        fill(folder / "mlruns", runs)
        env = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/new.db"}
        started = time.perf_counter()
        command = ["mlctl", "import", str(folder / "mlruns"), "-o", "json"]
        answer = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, check=True)
        wall_s = time.perf_counter() - started
        report = json.loads(answer.stdout)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "runs": report["runs"],
                "points": report["points"],
                "files": report["files"],
                "wall_s": round(wall_s, 1),
                "cpu_s": round(used.ru_utime + used.ru_stime, 1),
                "memory_mb": used.ru_maxrss // 1024,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
