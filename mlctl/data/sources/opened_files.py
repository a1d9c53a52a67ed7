"""The files that a block of code reads: a recipe's `load` may open files that mlctl does not know of."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

# code, and what mlctl and MLflow write themselves
IGNORED_SUFFIXES = {".py", ".pyc", ".pyi", ".so", ".db", ".db-journal", ".db-wal", ".db-shm", ".log", ".lock"}
IGNORED_NAMES = {"mlctl.toml", "mlruns", "mlartifacts", "__pycache__", "site-packages", "node_modules"}


class OpenedFiles:
    """Records the files below some folders that are opened for reading, and the folders that are listed.

    Python's own `open` is recorded, which NumPy, pandas and Pillow use; libraries that read in C++ are not. The functions
    are replaced, because an audit hook cannot be removed, and an interrupt in it aborts TensorFlow's import.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = [os.path.realpath(root) for root in roots]
        self._opened: dict[str, None] = {}
        self._listed: dict[str, None] = {}
        self._written: dict[str, None] = {}

    def __enter__(self) -> OpenedFiles:
        self._open, self._listdir, self._scandir = io.open, os.listdir, os.scandir
        builtins.open = io.open = self._recording_open(self._open)
        os.listdir = self._recording_listing(self._listdir)
        os.scandir = self._recording_listing(self._scandir)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        builtins.open = io.open = self._open
        os.listdir, os.scandir = self._listdir, self._scandir

    def _recording_open(self, open_: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not isinstance(file, int):
                is_written = isinstance(mode, str) and set(mode) & set("wax+")
                (self._written if is_written else self._opened)[os.fsdecode(file)] = None
            return open_(file, mode, *arguments, **options)

        return opened

    def _recording_listing(self, list_: Callable[..., Any]) -> Any:
        def listed(path: Any = ".") -> Any:
            if not isinstance(path, int) and path is not None:
                self._listed[os.fsdecode(path)] = None
            return list_(path)

        return listed

    @property
    def files(self) -> dict[str, Path]:
        """The files that were opened, by their path below their folder."""
        return self._below_roots(list(self._opened))  # a copy: other threads may open files meanwhile

    @property
    def listed_files(self) -> dict[str, Path]:
        """The files in the folders that were listed, except those directly in a folder that is watched."""
        folders = [path for path in list(self._listed) if os.path.realpath(path) not in self._roots]
        found: dict[str, None] = {}
        for folder in folders:
            if os.path.isdir(folder):
                found.update((entry.path, None) for entry in os.scandir(folder) if entry.is_file())
        return self._below_roots(found)

    @property
    def written_files(self) -> frozenset[Path]:
        """The files that were opened for writing, and may have been read as well."""
        return frozenset(Path(os.path.realpath(path)) for path in list(self._written))

    @property
    def version(self) -> tuple[int, int, int]:
        """Changes if another file is opened, or another folder is listed."""
        return len(self._opened), len(self._listed), len(self._written)

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
