"""Labelled files: one folder a class, with or without train and test above them, or a table of paths and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data import delimited, splits
from mlctl.errors import BadDataError, NotFoundError

TEXTS = (".txt",)
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
TRAIN_NAMES, TEST_NAMES = ("train", "training"), ("test", "testing")
FEWEST_OF_A_CLASS = 5

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Labelled:
    """Files with the number of each one's class; `test` marks those that were published as the test."""

    root: Path
    files: tuple[Path, ...]
    labels: Array
    classes: tuple[str, ...]
    test: Array

    def take(self, rows: Array) -> Labelled:
        """Return these rows."""
        return Labelled(
            self.root,
            tuple(self.files[row] for row in rows),
            self.labels[rows],
            self.classes,
            self.test[rows],
        )

    def dealt(self, seed: int) -> tuple[Array, Array, Array]:
        """Return row numbers of training, validation and test, in each class's proportion.

        A published test stays the test; what is left is dealt 80/20. Raises BadDataError for too small a class.
        """
        rest = np.flatnonzero(~self.test)
        counts = np.bincount(self.labels[rest], minlength=len(self.classes))
        if counts.min() < FEWEST_OF_A_CLASS:
            raise BadDataError(
                f"class {self.classes[int(counts.argmin())]} has {counts.min()} files that can be used",
                f"each class needs {FEWEST_OF_A_CLASS}",
            )
        if self.test.any():
            train, validation = splits.deal_by_class(self.labels[rest], seed, (0.8, 0.2))
            return rest[train], rest[validation], np.flatnonzero(self.test)
        train, validation, test = splits.deal_by_class(self.labels[rest], seed, (0.64, 0.16, 0.20))
        return rest[train], rest[validation], rest[test]


def found(path: Path, endings: Sequence[str]) -> Labelled:
    """Return the labelled files of a folder or of a table; raises NotFoundError and BadDataError."""
    if path.is_dir():
        return _of_folder(path, endings)
    if path.is_file():
        return _of_table(path, endings)
    raise NotFoundError(f"there is no file or folder {path}", "look at the path")


def holds(folder: Path, endings: Sequence[str]) -> bool:
    """Whether a folder has class folders with such files in them, at its top or below train."""
    return len(_classes(_base(folder, TRAIN_NAMES) or folder, endings)) > 1


def digest(files: Sequence[Path], labels: Array) -> tuple[str, int]:
    """Return a SHA-256 over all content and labels, and the bytes that were read."""
    whole, size = hashlib.sha256(np.ascontiguousarray(labels).tobytes()), 0
    for path in files:
        content = path.read_bytes()
        whole.update(hashlib.sha256(content).digest())
        size += len(content)
    return whole.hexdigest(), size


def _base(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _classes(folder: Path, endings: Sequence[str]) -> dict[str, list[Path]]:
    """Return the files of each class folder; folders without any are no classes."""
    classes = {}
    for one in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = sorted(path for path in one.rglob("*") if path.suffix.lower() in endings and path.is_file())
        if files:
            classes[one.name] = files
    return classes


def _of_folder(folder: Path, endings: Sequence[str]) -> Labelled:
    train, test = _base(folder, TRAIN_NAMES), _base(folder, TEST_NAMES)
    parts = [_classes(train or folder, endings), _classes(test, endings) if train and test else {}]
    names = sorted(
        set(parts[0]) & set(parts[1]) if parts[1] else parts[0]
    )  # a published set's "unsup" is none
    if len(names) < 2:
        raise BadDataError(
            f"{folder} has {len(names)} folders with {', '.join(endings[:3])} files in them",
            "put the files of each class into a folder of its own",
        )
    files: list[Path] = []
    labels: list[int] = []
    for part in parts:
        for number, name in enumerate(names):
            files += part.get(name, [])
            labels += [number] * len(part.get(name, []))
    tests = np.arange(len(files)) >= sum(len(parts[0][name]) for name in names)
    return Labelled(folder, tuple(files), np.array(labels, np.int64), tuple(names), tests)


def _of_table(path: Path, endings: Sequence[str]) -> Labelled:
    frame, _ = delimited.read(path)
    column = next((name for name in frame if are_paths(frame[name], endings)), None)
    if column is None or len(frame.columns) < 2:
        raise BadDataError(
            f"{path} has no column of paths that end in {', '.join(endings)}", "and one of labels"
        )
    label = next(
        (name for name in ("label", "class", "target", "y") if name in frame and name != column),
        next(name for name in frame if name != column),
    )
    frame = frame[[column, label]].dropna()
    names = sorted({str(one) for one in frame[label]})
    numbers = {name: number for number, name in enumerate(names)}
    files = tuple(path.parent / str(one) for one in frame[column])
    absent = [one for one in files if not one.is_file()]
    if absent:
        raise NotFoundError(
            f"{path} names {len(absent)} files that are not there, {absent[0]} the first",
            "paths count from the table's folder",
        )
    labels = np.array([numbers[str(one)] for one in frame[label]], np.int64)
    return Labelled(path.parent, files, labels, tuple(names), np.zeros(len(files), bool))


def are_paths(values: Any, endings: Sequence[str]) -> bool:
    """Whether a column's cells are names of files with such endings."""
    few = values.dropna().astype(str).head(200)
    return len(few) > 0 and bool(few.str.lower().str.endswith(tuple(endings)).mean() > 0.9)
