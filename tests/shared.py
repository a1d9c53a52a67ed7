"""Files that are expensive to make: made once in a test session, and shared by the workers of pytest-xdist."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock


def make_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Any]
) -> tuple[Path, Any]:
    """Return a folder that `make` has filled, and the JSON value that `make` returned.

    The first worker calls `make`; the others wait for it. Tests may only read the folder.
    """
    top = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        top = top.parent  # the folder of the session; each worker has a subfolder
    folder, result = top / f"shared-{name}", top / f"shared-{name}.json"
    with FileLock(f"{folder}.lock"):
        if not result.is_file():
            shutil.rmtree(folder, ignore_errors=True)  # an earlier attempt failed
            folder.mkdir()
            value = make(folder)
            result.write_text(json.dumps(value))
    return folder, json.loads(result.read_text())
