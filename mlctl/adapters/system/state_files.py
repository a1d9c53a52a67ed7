"""State of background processes: one small JSON file per process, readable by its owner only."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from mlctl.errors import RefusedError, UsageError
from mlctl.files import write_atomically


class StateFiles:
    """A folder of named JSON files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str, suffix: str = ".json") -> Path:
        """Return the file of this name; raise UsageError if the name cannot be a file name."""
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name):
            raise UsageError(
                f"invalid name {name!r}", "use letters, digits, '-', '_' and '.', at most 64 characters"
            )
        return self.folder / f"{name}{suffix}"

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the state of this name; None if there is no file or it cannot be parsed."""
        try:
            state = json.loads(self.path(name).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return state if isinstance(state, dict) else None

    def write(self, name: str, state: dict[str, Any]) -> None:
        """Replace the state of this name atomically."""
        self._make_folder()
        write_atomically(self.path(name), json.dumps(state).encode(), durable=False, mode=0o600)

    def delete(self, name: str) -> None:
        """Delete the file of this name, if there is one."""
        self.path(name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted(file.stem for file in self.folder.glob("*.json"))

    @contextlib.contextmanager
    def lock(self, name: str, timeout_s: float) -> Iterator[None]:
        """Hold the lock of a name; raise RefusedError if another process keeps it for `timeout_s` seconds."""
        self._make_folder()
        try:
            with filelock.FileLock(self.folder / f".{self.path(name).stem}.lock", timeout=timeout_s):
                yield
        except filelock.Timeout as exc:
            raise RefusedError(
                f"another mlctl process is using {name!r}", "wait until it ends, or stop it"
            ) from exc

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise RefusedError(
                f"cannot write {self.folder}: {exc.strerror}", "set MLCTL_STATE_DIR to a writable folder"
            ) from exc
