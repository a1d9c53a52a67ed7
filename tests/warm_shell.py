"""A shell in which `mlctl` starts without the cost of its imports, for scripts with pipes, cd and &&."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.warm_server import server_folder


def run_in_shell(script: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in bash and wait for its end; stdout contains both streams."""
    path = [str(server_folder()), str(Path(sys.executable).parent), os.environ["PATH"]]
    return subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env={**os.environ, **environment, "PATH": os.pathsep.join(path)},
        text=True,
        timeout=400,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
