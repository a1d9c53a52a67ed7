"""Where and from what a run was made: code, versions, machine, memory."""

from __future__ import annotations

import getpass
import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import distributions, version
from pathlib import Path

KEY_PACKAGES = ("tensorflow", "keras", "mlflow", "numpy", "scikit-learn", "onnxruntime")


def code(folder: Path) -> tuple[dict[str, str], str]:
    """Return git tags of the checkout that `folder` is in, and its uncommitted diff; empty where there is none."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}, ""
    diff = _git(folder, "diff", "HEAD")
    tags = {
        "mlflow.source.git.commit": commit.strip(),
        "mlctl.git.branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD").strip(),
        "mlctl.git.dirty": "true" if diff.strip() else "false",
    }
    return tags, diff


def versions() -> dict[str, str]:
    """Return the versions that decide what a training computes, as tags."""
    found = {f"mlctl.version.{name}": version(name) for name in KEY_PACKAGES}
    return {"mlctl.version.python": platform.python_version(), **found}


def requirements() -> str:
    """Return every installed distribution, pinned, one a line."""
    found = {one.metadata["Name"]: one.version for one in distributions()}
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found, key=str.lower) if name)


def user() -> str:
    """Return who runs this, or "unknown"."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb() -> float:
    """Return the most memory that this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, kilobytes here


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
