"""Asks an exported folder for answers in a process of its own, which has the file's runtime and no mlctl."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlctl.adapters.models.isolated_process import run_isolated
from mlctl.errors import BadDataError

BATCH = 256  # rows of a call
LATENCY_CALLS, LATENCY_S = 200, 3.0
HIDDEN = ("mlctl", "mlflow")
TENSORFLOW = ("keras", "tensorflow")  # hidden, too, if the format does not need them
_HINT = "choose another format"

_PROGRAM = """
import time
rows, batch, calls, seconds = values
sys.path.insert(0, folder)
sys.dont_write_bytecode = True

def take(start, stop):
    if isinstance(rows, dict):
        return {name: part[start:stop] for name, part in rows.items()}
    return rows[start:stop]

def peak_memory():
    try:  # getrusage counts what the parent had before this program began
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

result = {"step": "loading it"}
try:
    import predict
    model = predict.Predictor()
    result["step"] = "answering"
    count = len(next(iter(rows.values()))) if isinstance(rows, dict) else len(rows)
    import numpy as np
    parts = [model(take(start, start + batch)) for start in range(0, count, batch)]
    if isinstance(parts[0], dict):
        result["answers"] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    else:
        result["answers"] = np.concatenate(parts)
    one = take(0, 1)
    for _ in range(5):
        model(one)
    times, started = [], time.perf_counter()
    while len(times) < calls and time.perf_counter() - started < seconds:
        before = time.perf_counter()
        model(one)
        times.append(time.perf_counter() - before)
    result["latency_s"] = sorted(times)[len(times) // 2]
    result["memory_bytes"] = peak_memory()
    versions = {}
    for package in ("onnxruntime", "ai_edge_litert", "tensorflow", "keras"):
        if package in sys.modules:
            import importlib.metadata
            versions[package] = importlib.metadata.version(package)
    result["runtimes"] = versions
    result["step"] = ""
except BaseException as error:
    traceback.print_exc()
    result["error"] = f"{type(error).__name__}: {error}"
"""


@dataclass(frozen=True, kw_only=True)
class MeasuredAnswers:
    """What an exported folder answered.

    Attributes:
        answers: An array, or a dict of arrays by output name.
        latency_ms: Median time of a call with one row.
        memory_bytes: Most memory that the process had.
        runtimes: Versions of the runtimes that it imported.
    """

    answers: Any
    latency_ms: float
    memory_bytes: int
    runtimes: Mapping[str, str]


def ask(folder: Path, rows: Any, *, with_tensorflow: bool) -> MeasuredAnswers:
    """Return an exported folder's answers to raw rows, in a process that has neither mlctl nor MLflow.

    Raises BadDataError that says in one line why it does not answer.
    """
    result = run_isolated(
        _PROGRAM,
        folder,
        (rows, BATCH, LATENCY_CALLS, LATENCY_S),
        hidden=(*HIDDEN, *(() if with_tensorflow else TENSORFLOW)),
        environment={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        subject="the export",
        hint=_HINT,
    )
    if "error" in result:
        reason = f"{result['step']} ends with {result['error']}"
        raise BadDataError(f"the export does not work in a process of its own: {reason}", _HINT)
    return MeasuredAnswers(
        answers=result["answers"],
        latency_ms=1000 * result["latency_s"],
        memory_bytes=result["memory_bytes"],
        runtimes=result["runtimes"],
    )
