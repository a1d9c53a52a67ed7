"""What the system metrics of a run cost: `python -m tests.benchmarks.system_metrics`, about 20 seconds.

A run that does nothing else is recorded into a SQLite store with a sample every 0.2 seconds, and without samples.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from mlctl.adapters.runlog.recorder import Recorder, open_store
from mlctl.adapters.system import system_metrics
from mlctl.domain.progress import NullProgress
from mlctl.settings import SYSTEM_METRICS_VARIABLE

INTERVAL_S, DURATION_S = 0.2, 8.0


def main() -> None:
    """Print the processor time of a sample, and its share of one processor at the usual interval."""
    usual_s, system_metrics.INTERVAL_S = system_metrics.INTERVAL_S, INTERVAL_S
    used = {}
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/mlflow.db")
        for enabled in ("true", "false"):
            os.environ[SYSTEM_METRICS_VARIABLE] = enabled
            recorder = Recorder.create(
                store,
                experiment="e",
                run_name=None,
                tags={},
                state_dir=Path(folder),
                listener=NullProgress(),
            )
            time.sleep(2)  # imports
            began = time.process_time()
            time.sleep(DURATION_S)
            used[enabled] = time.process_time() - began
            recorder.finish("FINISHED")
    sample_s = (used["true"] - used["false"]) / (DURATION_S / INTERVAL_S)
    print(f"a sample, sent to SQLite: {1000 * sample_s:.1f} ms of CPU")
    print(f"every {usual_s:.0f} s: {100 * sample_s / usual_s:.2f} % of one processor")


if __name__ == "__main__":
    main()
