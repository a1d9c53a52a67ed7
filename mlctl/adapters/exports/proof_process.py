"""Asks an exported folder for answers in a process of its own, which has the file's runtime and no mlctl."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlctl.errors import BadDataError

MAX_REASON = 300
BATCH = 256  # rows of a call
LATENCY_CALLS, LATENCY_S = 200, 3.0
HIDDEN = ("mlctl", "mlflow")
TENSORFLOW = ("keras", "tensorflow")  # hidden, too, if the format does not need them
_ANSI = re.compile(r"\x1b\[[0-9;]*m")

_PROGRAM = """
import os, pickle, sys, time, traceback
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
folder, question, answer = sys.argv[1:]
with open(question, "rb") as file:
    hidden, rows, batch, calls, seconds = pickle.load(file)

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
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
with open(answer, "wb") as file:
    pickle.dump(result, file)
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
    with tempfile.TemporaryDirectory(prefix="mlctl-proof-") as temporary:
        question, answer, log = (Path(temporary) / name for name in ("question", "answer", "log"))
        hidden = {*HIDDEN, *(() if with_tensorflow else TENSORFLOW)}
        question.write_bytes(pickle.dumps((hidden, rows, BATCH, LATENCY_CALLS, LATENCY_S)))
        program = Path(temporary) / "proof.py"
        program.write_text(_PROGRAM, encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with log.open("wb") as output:
            done = subprocess.run(
                [sys.executable, program.name, str(folder.resolve()), str(question), str(answer)],
                cwd=temporary,
                env={**environment, "CUDA_VISIBLE_DEVICES": "-1"},
                stdout=output,
                stderr=output,
                check=False,
            )
        if not answer.exists():
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise BadDataError(
                f"the export ends a new process with status {done.returncode}: {''.join(last)[:MAX_REASON]}",
                "choose another format",
            )
        result = pickle.loads(answer.read_bytes())  # noqa: S301 - the child's own answer
    if "error" in result:
        text = " ".join(_ANSI.sub("", result["error"]).split())[:MAX_REASON]
        raise BadDataError(
            f"the export does not work in a process of its own: {result['step']} ends with {text}",
            "choose another format",
        )
    return MeasuredAnswers(
        answers=result["answers"],
        latency_ms=1000 * result["latency_s"],
        memory_bytes=result["memory_bytes"],
        runtimes=result["runtimes"],
    )
