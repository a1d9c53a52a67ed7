"""What this machine remembers of processes that it began: a small JSON file each, for its owner only."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from mlctl.errors import RefusedError, UsageError


class StateFiles:
    """A folder of named notes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str, suffix: str = ".json") -> Path:
        """Return the file of this name; raises UsageError where the name cannot be a file's."""
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name):
            raise UsageError(f"{name!r} cannot be a name", "letters, digits, - _ and ., at most 64")
        return self.folder / f"{name}{suffix}"

    def read(self, name: str) -> dict[str, Any] | None:
        """Return what is noted; None where nothing is, or nothing that can be read."""
        try:
            noted = json.loads(self.path(name).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return noted if isinstance(noted, dict) else None

    def write(self, name: str, noted: dict[str, Any]) -> None:
        """Note it, all or nothing."""
        self._folder()
        whole = self.path(name)
        part = whole.with_suffix(f".{os.getpid()}.part")
        with os.fdopen(
            os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump(noted, file)
        part.replace(whole)

    def forget(self, name: str) -> None:
        """Take the note away, where there is one."""
        self.path(name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the names of all notes, in order."""
        return sorted(file.stem for file in self.folder.glob("*.json"))

    @contextlib.contextmanager
    def alone(self, name: str, timeout_s: float) -> Iterator[None]:
        """Let one process at a time do something about a name.

        Raises RefusedError where another one has been at it for `timeout_s` seconds.
        """
        self._folder()
        try:
            with filelock.FileLock(self.folder / f".{self.path(name).stem}.lock", timeout=timeout_s):
                yield
        except filelock.Timeout as exc:
            raise RefusedError(f"another mlctl is busy with {name!r}", "wait for it, or end it") from exc

    def _folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise RefusedError(
                f"{self.folder} cannot be written: {exc.strerror}", "set MLCTL_STATE_DIR to a folder that can"
            ) from exc
