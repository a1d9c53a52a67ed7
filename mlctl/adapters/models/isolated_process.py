"""Runs a program in a new process that lacks some packages, and returns what it found."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mlctl.errors import BadDataError

MAX_REASON = 300
_ANSI = re.compile(r"\x1b\[[0-9;]*m")

_START = """
import os, pickle, sys, traceback
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
folder, question, answer = sys.argv[1:]
with open(question, "rb") as file:
    hidden, values = pickle.load(file)

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""
_END = """
with open(answer, "wb") as file:
    pickle.dump(result, file)
"""


def run_isolated(
    program: str,
    folder: Path,
    values: Any,
    *,
    hidden: Collection[str],
    environment: Mapping[str, str],
    subject: str,
    hint: str,
) -> dict[str, Any]:
    """Return the `result` of a program, without colors and line breaks in its "error".

    Args:
        program: Source that finds `folder` and `values`, and leaves a dict named `result`.
        folder: The folder that it works on.
        values: What it gets; pickled.
        hidden: Top-level packages that it cannot import.
        environment: Its environment variables; it sees no GPU.
        subject: The folder's content in the message of the error.
        hint: The hint of the error.

    Raises BadDataError if the process ends without a result.
    """
    with tempfile.TemporaryDirectory(prefix="mlctl-isolated-") as temporary:
        question, answer, log = (Path(temporary) / name for name in ("question", "answer", "log"))
        question.write_bytes(pickle.dumps((set(hidden), values)))
        (Path(temporary) / "program.py").write_text(_START + program + _END, encoding="utf-8")
        with log.open("wb") as output:
            done = subprocess.run(
                [sys.executable, "program.py", str(folder.resolve()), str(question), str(answer)],
                cwd=temporary,
                # a GPU may be full of the trained model
                env={**environment, "CUDA_VISIBLE_DEVICES": "-1"},
                stdout=output,
                stderr=output,
                check=False,
            )
        if not answer.exists():
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            reason = "".join(last)[:MAX_REASON]
            raise BadDataError(f"{subject} ends a new process with status {done.returncode}: {reason}", hint)
        result: dict[str, Any] = pickle.loads(answer.read_bytes())  # noqa: S301 - the child's own answer
    if "error" in result:
        result["error"] = " ".join(_ANSI.sub("", result["error"]).split())[:MAX_REASON]
    return result
