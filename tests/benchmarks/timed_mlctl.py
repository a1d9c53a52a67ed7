"""mlctl as it is, with a stopwatch on its data and training: `python timed_mlctl.py train imdb …`.

It wraps a few light functions and leaves what they do, and what is imported when, alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlctl.__main__ import main
from mlctl.adapters.keras import runtime
from mlctl.output.progress import TrainingProgress
from mlctl.services.recipes import prepare

spent = {"wall_s": 0.0, "cpu_s": 0.0}
epoch_ends: list[float] = []


def lap(sign: int) -> None:
    spent["wall_s"] += sign * time.perf_counter()
    spent["cpu_s"] += sign * time.process_time()


def around(function: Callable[..., Any], before: int = 0, after: int = 0) -> Callable[..., Any]:
    def timed(*given: Any, **named: Any) -> Any:
        if before:
            lap(before)
        result = function(*given, **named)
        if after:
            lap(after)
        return result

    return timed


def stage(view: TrainingProgress, what: str) -> None:
    """The stage after training ends the time."""
    if what.startswith("saving"):
        lap(1)
        if path := os.environ.get("BENCHMARK_TIMES"):
            Path(path).write_text(json.dumps({**spent, "epoch_ends_cpu_s": epoch_ends}))
    told(view, what)


def epoch(view: TrainingProgress, *given: Any) -> None:
    """Note when an epoch ended."""
    epoch_ends.append(time.process_time())
    showed(view, *given)


told, showed = TrainingProgress.stage, TrainingProgress.epoch_ended
TrainingProgress.epoch_ended = epoch  # type: ignore[method-assign]
TrainingProgress.stage = stage  # type: ignore[method-assign]
prepare.prepare = around(prepare.prepare, before=-1, after=1)
runtime.start_session = around(runtime.start_session, before=-1)  # the seed: the model is built and trained right after
sys.argv[0] = "mlctl"
sys.exit(main())
