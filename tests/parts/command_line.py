"""mlctl as its users run it: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil


@dataclass
class CommandLine:
    """Runs mlctl as a user does; servers that it started are gone when it is."""

    state: Path
    cwd: Path
    environment: dict[str, str] = field(default_factory=dict)
    patience_s: float = 150
    under: tuple[str, ...] = ()

    def __call__(
        self,
        *arguments: str,
        code: int | None = 0,
        given: str | None = None,
        more: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.under, sys.executable, "-m", "mlctl", *arguments],
            cwd=self.cwd,
            env={**self.whole_environment(), **(more or {})},
            input=given,
            stdin=None if given is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self.patience_s,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if code is not None:
            assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, **rest: Any) -> Any:
        return json.loads(self(*arguments, "-o", "json", **rest).stdout)

    def fails(self, code: int, *arguments: str, **rest: Any) -> str:
        """Run what must fail with this code; return its message, which is one line, beside one hint."""
        done = self(*arguments, "-o", "json", code=code, **rest)
        assert done.stdout == ""
        error = json.loads(done.stderr.strip().splitlines()[-1])["error"]
        assert "\n" not in error["message"]
        return str(error["message"])

    def whole_environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MLFLOW_", "PG"))}
        return {**kept, "MLCTL_STATE_DIR": str(self.state), **self.environment}

    def notes(self) -> list[Path]:
        return sorted((self.state / "servers").glob("*.json"))

    def down(self) -> None:
        for file in self.notes():
            note = json.loads(file.read_text())
            try:
                process = psutil.Process(note["pid"])
            except psutil.NoSuchProcess:
                continue
            for one in [process, *process.children(recursive=True)]:
                one.kill()
