"""The files that a block of code reads: a recipe's `load` may open files that mlctl does not know of."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

LISTING_EVENTS = {"os.listdir", "os.scandir"}
# code, and what mlctl and MLflow write themselves
IGNORED_SUFFIXES = {".py", ".pyc", ".pyi", ".so", ".db", ".db-journal", ".db-wal", ".db-shm", ".log", ".lock"}
IGNORED_NAMES = {"mlctl.toml", "mlruns", "mlartifacts", "__pycache__", "site-packages", "node_modules"}

_active: list[OpenedFiles] = []
_is_installed = False


class OpenedFiles:
    """Records the files below some folders that are opened for reading, and the folders that are listed.

    Python's own `open` is recorded, which NumPy, pandas and Pillow use; libraries that read in C++ are not.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = [os.path.realpath(root) for root in roots]
        self._opened: dict[str, None] = {}
        self._listed: dict[str, None] = {}

    def __enter__(self) -> OpenedFiles:
        global _is_installed
        if not _is_installed:  # a hook cannot be removed
            sys.addaudithook(_on_event)
            _is_installed = True
        _active.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _active.remove(self)

    def record(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record one event of Python's audit hooks."""
        path = arguments[0]
        if isinstance(path, int) or path is None:
            return
        if event == "open":
            mode = arguments[1] or ""
            if not set(mode) & set("wax+") and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
                self._opened[os.fsdecode(path)] = None
        else:
            self._listed[os.fsdecode(path)] = None

    @property
    def files(self) -> dict[str, Path]:
        """The files that were opened, by their path below their folder."""
        return self._below_roots(self._opened)

    @property
    def listed_files(self) -> dict[str, Path]:
        """The files in the folders that were listed, except those directly in a folder that is watched."""
        folders = (path for path in self._listed if os.path.realpath(path) not in self._roots)
        found: dict[str, None] = {}
        for folder in folders:
            if os.path.isdir(folder):
                found.update((entry.path, None) for entry in os.scandir(folder) if entry.is_file())
        return self._below_roots(found)

    def _below_roots(self, paths: Iterable[str]) -> dict[str, Path]:
        named = {}
        for path in paths:
            real = os.path.realpath(path)
            root = next(
                (root for root in self._roots if real == root or real.startswith(root + os.sep)), None
            )
            if root is None:
                continue
            name = os.path.basename(real) if real == root else os.path.relpath(real, root)
            if not _is_ignored(name) and os.path.isfile(real):
                named[name] = Path(real)
        return dict(sorted(named.items()))


def _is_ignored(name: str) -> bool:
    parts = Path(name).parts
    return (
        Path(name).suffix in IGNORED_SUFFIXES
        or any(part.startswith(".") for part in parts)
        or bool(IGNORED_NAMES.intersection(parts))
    )


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if _active and (event == "open" or event in LISTING_EVENTS):
        for opened in _active:
            opened.record(event, arguments)
