"""The files that a script reads below its working directory and its own folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mlctl.data.sources.opened_files import OpenedFiles


class ReadFiles:
    """Watches the files that are opened, without those that the script or mlctl writes itself."""

    def __init__(self, roots: Iterable[Path], ignored: Iterable[Path]) -> None:
        """Take the folders to watch, and folders in them whose files do not count."""
        self._watch = OpenedFiles(roots)
        self._ignored = tuple(folder.expanduser().resolve() for folder in ignored)
        self._version: tuple[int, int, int] | None = None
        self._found: tuple[Mapping[str, Path], Mapping[str, Path]] = ({}, {})

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the block."""
        with self._watch:
            yield

    def __call__(self) -> tuple[Mapping[str, Path], Mapping[str, Path]]:
        """Return the files that were opened, by name, and those in folders that were listed."""
        if self._version != self._watch.version:
            self._version = self._watch.version
            written = self._watch.written_files
            self._found = (
                {name: path for name, path in self._watch.files.items() if self._counts(path, written)},
                {
                    name: path
                    for name, path in self._watch.listed_files.items()
                    if self._counts(path, written)
                },
            )
        return self._found

    def _counts(self, path: Path, written: frozenset[Path]) -> bool:
        return path not in written and not any(path.is_relative_to(folder) for folder in self._ignored)
