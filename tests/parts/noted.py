"""A server that is noted and lives, and is none: what a command makes of the note alone costs no real one."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

from mlctl.adapters.system.daemon import DaemonProcess
from tests.parts.command_line import CommandLine


@contextlib.contextmanager
def noted(mlctl: CommandLine, name: str = "main", **more: Any) -> Iterator[None]:
    """Note a server of this name over the working directory's sqlite, for as long as this lasts."""
    child = subprocess.Popen(["sleep", "600"])
    where = {"root": str(mlctl.cwd), "backend": f"sqlite:///{mlctl.cwd}/mlflow.db", "bucket": None}
    note = {
        "name": name, "instance": "x", **DaemonProcess.of(child.pid).as_note(), "url": "http://127.0.0.1:9",
        "local_url": "http://127.0.0.1:9", "log": "x", "artifacts": "x", "workers": 1, "auth": False,
        "place": where, **more,
    }  # fmt: skip
    file = mlctl.state / "servers" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(note))
    try:
        yield
    finally:
        child.kill()
        child.wait()
        file.unlink(missing_ok=True)
