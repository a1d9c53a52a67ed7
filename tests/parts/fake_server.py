"""The state file of a server that does not exist, for tests of what commands do with the file alone."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

from mlctl.adapters.system.daemon import DaemonProcess
from tests.parts.command_line import CommandLine


@contextlib.contextmanager
def fake_server(mlctl: CommandLine, name: str = "main", **values: Any) -> Iterator[None]:
    """Write the state file of a server whose process is alive, with a SQLite database in the working directory."""
    process = subprocess.Popen(["sleep", "600"])
    state = {
        "name": name,
        "instance": "x",
        **DaemonProcess.from_pid(process.pid).to_state(),
        "url": "http://127.0.0.1:9",
        "local_url": "http://127.0.0.1:9",
        "log": "x",
        "artifacts": "x",
        "workers": 1,
        "auth": False,
        "place": {"root": str(mlctl.cwd), "backend": f"sqlite:///{mlctl.cwd}/mlflow.db", "bucket": None},
        **values,
    }
    file = mlctl.state / "servers" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(state))
    try:
        yield
    finally:
        process.kill()
        process.wait()
        file.unlink(missing_ok=True)
