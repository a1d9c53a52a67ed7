"""mlctl with a stopwatch on its data and training: `python timed_mlctl.py train imdb …`.

It wraps a few functions that take little time themselves. It does not change what they do or when modules are imported.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from mlctl.__main__ import main
from mlctl.adapters.keras import runtime
from mlctl.output.progress import TrainingProgress
from mlctl.services.recipes import prepare

seconds = {"wall_s": 0.0, "cpu_s": 0.0}
epoch_ends: list[float] = []


def start_watch() -> None:
    seconds["wall_s"] -= time.perf_counter()
    seconds["cpu_s"] -= time.process_time()


def stop_watch() -> None:
    seconds["wall_s"] += time.perf_counter()
    seconds["cpu_s"] += time.process_time()


def timed_prepare(*args: Any, **kwargs: Any) -> Any:
    start_watch()
    prepared = original_prepare(*args, **kwargs)
    stop_watch()
    return prepared


def timed_start_session(*args: Any, **kwargs: Any) -> Any:
    """Start the watch: the model is built and trained immediately after the session starts."""
    start_watch()
    return original_start_session(*args, **kwargs)


def timed_stage(view: TrainingProgress, text: str) -> None:
    """Stop the watch at the stage that follows the training."""
    if text.startswith("saving"):
        stop_watch()
        if path := os.environ.get("BENCHMARK_TIMES"):
            Path(path).write_text(json.dumps({**seconds, "epoch_ends_cpu_s": epoch_ends}))
    original_stage(view, text)


def timed_epoch_ended(view: TrainingProgress, *args: Any) -> None:
    """Record when an epoch ended."""
    epoch_ends.append(time.process_time())
    original_epoch_ended(view, *args)


original_prepare, original_start_session = prepare.prepare, runtime.start_session
original_stage, original_epoch_ended = TrainingProgress.stage, TrainingProgress.epoch_ended
prepare.prepare = timed_prepare
runtime.start_session = timed_start_session
TrainingProgress.stage = timed_stage
TrainingProgress.epoch_ended = timed_epoch_ended
sys.argv[0] = "mlctl"
main()
