"""Run mlctl as its users do: as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.parts.server_zygote import ServerZygote
from tests.warm_server import COLD_COMMAND, warm_command


@dataclass
class CommandLine:
    """Runs mlctl as a user does.

    Attributes:
        state: Folder of the state files.
        cwd: Working directory.
        environment: Additional environment variables.
        timeout_s: Time limit of each command.
        wrapper: Command that starts each mlctl process, such as setpriv.
        zygote: Starts the processes, to save their imports; None: each imports everything itself.
        warm: Whether `tests.warm_server` starts the processes, to save their imports of TensorFlow.

    """

    state: Path
    cwd: Path
    environment: dict[str, str] = field(default_factory=dict)
    timeout_s: float = 150
    wrapper: tuple[str, ...] = ()
    zygote: ServerZygote | None = None
    warm: bool = False

    def __call__(
        self,
        *arguments: str,
        code: int | None = 0,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run mlctl; fail if it ends with another exit code than `code` (None accepts any)."""
        environment = {**self.full_environment(), **(env or {})}
        if self.zygote and not self.wrapper:
            done = self.zygote.run(
                arguments, cwd=self.cwd, environment=environment, stdin=stdin, timeout_s=self.timeout_s
            )
        else:
            done = subprocess.run(
                [*self.wrapper, *(warm_command(environment) if self.warm else COLD_COMMAND), *arguments],
                cwd=self.cwd,
                env=environment,
                input=stdin,
                stdin=None if stdin is not None else subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.timeout_s,
                check=False,
            )
        assert "Traceback" not in done.stderr, done.stderr
        if code is not None:
            assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, **options: Any) -> Any:
        """Run mlctl and return its JSON answer."""
        return json.loads(self(*arguments, "-o", "json", **options).stdout)

    def fails(self, code: int, *arguments: str, **options: Any) -> str:
        """Run a command that fails with this exit code; return its error message."""
        message, _ = self.error(code, *arguments, **options)
        return message

    def error(self, code: int, *arguments: str, **options: Any) -> tuple[str, str]:
        """Run a command that fails with this exit code; return its error message, which is one line, and its hint."""
        done = self(*arguments, "-o", "json", code=code, **options)
        assert done.stdout == ""
        error = json.loads(done.stderr.strip().splitlines()[-1])["error"]
        assert "\n" not in error["message"]
        return str(error["message"]), str(error["hint"])

    def full_environment(self) -> dict[str, str]:
        """Return the environment of the mlctl processes."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MLFLOW_", "PG"))}
        return {**inherited, "MLCTL_STATE_DIR": str(self.state), **self.environment}

    def state_files(self) -> list[Path]:
        """Return the state files of the servers."""
        return sorted((self.state / "servers").glob("*.json"))

    def kill_servers(self) -> None:
        """Kill every server that a test has left running."""
        for file in self.state_files():
            state = json.loads(file.read_text())
            try:
                server = psutil.Process(state["pid"])
            except psutil.NoSuchProcess:
                continue
            for process in [server, *server.children(recursive=True)]:
                process.kill()
