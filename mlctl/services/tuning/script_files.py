"""Files that the trials of a script write: all trials run in the user's working directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mlctl.adapters.scripts.execution import Program
from mlctl.domain.script_flags import TRIAL, placeholders

TRIAL_VARIABLE = "MLCTL_TRIAL"  # environment variable with the trial's name
MAX_FILES = 5000  # that are looked at
IGNORED_FOLDERS = frozenset({"__pycache__", "mlruns", "mlartifacts", "node_modules"})
STORES = (".db", ".db-journal", ".db-wal", ".db-shm")  # of MLflow, in SQLite


def knows_its_trial(program: Program, arguments: Sequence[str]) -> bool:
    """Return whether a script can give each trial files of its own: it is told the trial's name, or asks for it."""
    return TRIAL in placeholders(arguments) or TRIAL_VARIABLE.encode() in program.file.read_bytes()


def files_written(folder: Path, *, since: float) -> list[str]:
    """Return the files in a folder that were written since a time of day, in seconds; hidden ones are left out."""
    found: list[str] = []
    count = 0
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name not in IGNORED_FOLDERS and not name.startswith(".")
        )
        for name in sorted(files):
            count += 1
            if count > MAX_FILES:
                return found
            path = Path(root) / name
            if name.startswith(".") or name.endswith(STORES):
                continue
            try:
                is_new = path.stat().st_mtime >= since
            except OSError:  # it is gone again
                continue
            if is_new:
                found.append(path.relative_to(folder).as_posix())
    return found
