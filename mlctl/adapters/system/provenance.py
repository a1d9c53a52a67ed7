"""What a run was made from: code, package versions, user and machine."""

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


def git_state(folder: Path) -> tuple[dict[str, str], str]:
    """Return tags of the git checkout that contains the folder, and its uncommitted diff; empty without one."""
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
    """Return the versions of Python and of the packages that decide a training's result."""
    return {"python": platform.python_version(), **{name: version(name) for name in KEY_PACKAGES}}


def pinned_requirements() -> str:
    """Return every installed distribution with its version, one per line."""
    installed = {distribution.metadata["Name"]: distribution.version for distribution in distributions()}
    return "".join(f"{name}=={installed[name]}\n" for name in sorted(installed, key=str.lower) if name)


def acting_user() -> str:
    """Return the tracking server's user if one is logged in, else this machine's user."""
    return os.environ.get("MLFLOW_TRACKING_USERNAME") or user_name()


def user_name() -> str:
    """Return the name of the user who runs this process, or "unknown"."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def available_cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb() -> float:
    """Return the peak memory of this process in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)  # macOS reports bytes, Linux kilobytes


def _git(folder: Path, *arguments: str) -> str:
    try:
        outcome = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return outcome.stdout if outcome.returncode == 0 else ""
