"""Labelled files: one folder a class, with or without splits above them, or a table of paths and labels."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data import splits
from mlctl.data.tables import label_column, reader
from mlctl.data.tables.label_column import FEWEST_OF_A_CLASS
from mlctl.errors import BadDataError, NotFoundError, UsageError

if TYPE_CHECKING:
    import pandas as pd

TEXTS = (".txt",)
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
TRAIN, VALIDATION, TEST = range(3)
SPLIT_NAMES = (("train", "training"), ("val", "valid", "validation"), ("test", "testing"))
NO_CLASSES = ("unsup", "unsupervised", "unlabeled", "unlabelled")  # folders of what has no label, as IMDB's
MAC_ARCHIVE = "__MACOSX"  # beside what a Mac zips: a shadow of it, under the same names
FIRST_PATHS = 20
# shares of what is left to deal, by which of validation and test are published
SHARES = {
    (False, False): (0.64, 0.16, 0.20),
    (False, True): (0.8, 0.2, 0.0),
    (True, False): (0.8, 0.0, 0.2),
    (True, True): (1.0, 0.0, 0.0),
}
SHOWN = 8

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Labelled:
    """Files with the number of each one's class, and the split that each was published in, as TRAIN is for most.

    `notes` say what was found in which split, and what was left out.
    """

    root: Path
    files: tuple[Path, ...]
    labels: Array
    classes: tuple[str, ...]
    part: Array
    notes: tuple[str, ...] = ()

    def take(self, rows: Array) -> Labelled:
        """Return these rows."""
        files = tuple(self.files[row] for row in rows)
        return Labelled(self.root, files, self.labels[rows], self.classes, self.part[rows], self.notes)

    def dealt(self, seed: int) -> tuple[Array, Array, Array]:
        """Return row numbers of training, validation and test, those that are dealt in each class's proportion.

        A published split stays what it is; what no split was published of is dealt out of the training files.
        Raises BadDataError for too small a class.
        """
        rest, *published = (np.flatnonzero(self.part == one) for one in (TRAIN, VALIDATION, TEST))
        shares = SHARES[bool(len(published[0])), bool(len(published[1]))]
        counts = np.bincount(self.labels[rest], minlength=len(self.classes))
        needed = 1 if shares[0] == 1 else FEWEST_OF_A_CLASS
        if counts.min() < needed:
            raise BadDataError(
                f"class {self.classes[int(counts.argmin())]} has {counts.min()} files that can be used",
                f"each class needs {needed}",
            )
        train, *hands = (rest[hand] for hand in splits.split_rows_by_class(self.labels[rest], seed, shares))
        validation, test = (
            given if len(given) else hand for given, hand in zip(published, hands, strict=True)
        )
        return train, validation, test


def found(path: Path, endings: Sequence[str], target: str = "") -> Labelled:
    """Return the labelled files of a folder or of a table, whose labels are in column `target`.

    Raises NotFoundError, BadDataError, and UsageError for a target that is none.
    """
    if path.is_dir():
        if target:
            raise UsageError(f"--target {target} is a table's column, and {path} is a folder", "leave it out")
        return _of_folder(path, endings)
    if path.is_file():
        return _of_table(path, endings, target)
    raise NotFoundError(f"there is no file or folder {path}", "look at the path")


def holds(folder: Path, endings: Sequence[str]) -> bool:
    """Whether a folder has class folders with such files in them, at its top or below train."""
    train = _split_folders(folder, endings)[TRAIN]
    return train is not None and len(_class_folders(train, endings)) > 1


def digest(files: Sequence[Path], labels: Array) -> tuple[str, int]:
    """Return a SHA-256 over all content and labels, and the bytes that were read."""
    whole, size = hashlib.sha256(np.ascontiguousarray(labels).tobytes()), 0
    for path in files:
        content = path.read_bytes()
        whole.update(hashlib.sha256(content).digest())
        size += len(content)
    return whole.hexdigest(), size


def are_paths(values: pd.Series[Any], endings: Sequence[str]) -> bool:
    """Whether a column's cells are names of files with such endings; addresses are none."""
    if values.dtype.kind in "iufb":  # a wide table has a thousand columns of numbers
        return False
    few = values.dropna().astype(str).head(200)
    named = few.str.lower().str.endswith(tuple(endings)) & ~few.str.contains("://", regex=False)
    return len(few) > 0 and bool(named.mean() > 0.9)


def lie_beside(path: Path, values: pd.Series[Any]) -> bool:
    """Whether any of the first files that a table's column names is there."""
    return any((path.parent / str(one)).is_file() for one in values.dropna().head(FIRST_PATHS))


def visible(folder: Path) -> list[Path]:
    """Return the folders in a folder, by name; hidden ones and a Mac's are none."""
    return sorted(one for one in folder.iterdir() if one.is_dir() and not _is_hidden(one.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == MAC_ARCHIVE


def _below(folder: Path, endings: Sequence[str]) -> Iterator[Path]:
    wanted = tuple(endings)
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        yield from (
            Path(root, name) for name in files if name.lower().endswith(wanted) and not _is_hidden(name)
        )


def _class_folders(folder: Path, endings: Sequence[str]) -> list[Path]:
    """Return the folders that are classes: those with files in them, unless their name says that they are none."""
    named = (one for one in visible(folder) if one.name.lower() not in NO_CLASSES)
    return [one for one in named if next(_below(one, endings), None)]


def _split_folders(folder: Path, endings: Sequence[str]) -> list[Path | None]:
    """Return the folder of training, of validation and of test, None where there is none.

    What has no classes below it is no split: "train" may be a class of vehicles.
    """
    inside = visible(folder)
    train, *others = (
        next((one for one in inside if one.name.lower() in names and _class_folders(one, endings)), None)
        for names in SPLIT_NAMES
    )
    return [train, *others] if train else [folder, None, None]


def _of_folder(folder: Path, endings: Sequence[str]) -> Labelled:
    parts = _split_folders(folder, endings)
    found = [{one.name: one for one in _class_folders(part, endings)} if part else {} for part in parts]
    names = tuple(sorted(found[TRAIN]))
    if len(names) < 2:
        raise BadDataError(
            f"{folder} has {len(names)} folders with {', '.join(endings[:3])} files in them",
            "put the files of each class into a folder of its own",
        )
    rows = [
        (path, number, part)
        for part, classes in enumerate(found)
        for number, name in enumerate(names)
        if name in classes
        for path in sorted(_below(classes[name], endings))
    ]
    files = tuple(path for path, _, _ in rows)
    missing = [[name for name in names if name not in classes] for classes in found]
    notes = (*_said_of_parts(parts, missing), *_left_out(folder, endings, set(files)))
    numbers, which = (np.array([row[place] for row in rows], np.int64) for place in (1, 2))
    return Labelled(folder, files, numbers, names, which, notes)


def _said_of_parts(parts: Sequence[Path | None], missing: Sequence[Sequence[str]]) -> Iterator[str]:
    train, validation, test = parts
    if train and validation:
        dealt = "" if test else f"; the test split is dealt out of {train.name}"
        yield f"{validation.name} is the validation split{dealt}"
    for part, names in zip(parts, missing, strict=True):
        if part and names:
            yield f"warning: {part.name} has nothing of class {', '.join(names)}"


def _left_out(folder: Path, endings: Sequence[str], used: Collection[Path]) -> Iterator[str]:
    """Say where files lie that are of no class, or of one that is not trained."""
    lost = Counter(
        "/".join(path.parent.relative_to(folder).parts[:2])
        for path in _below(folder, endings)
        if path not in used
    )
    if lost:
        said = [
            f"{where or 'the folder itself'} ({count:,} {'file' if count == 1 else 'files'})"
            for where, count in sorted(lost.items())
        ]
        more = f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
        yield f"warning: left out: {', '.join(said[:SHOWN])}{more}"


def _of_table(path: Path, endings: Sequence[str], target: str) -> Labelled:
    frame, _ = reader.read(path)
    column = next((name for name in frame if name != target and are_paths(frame[name], endings)), None)
    if column is None:
        raise BadDataError(
            f"{path} has no column of paths that end in {', '.join(endings)}",
            label_column.as_table(path, target),
        )
    label = label_column.column(path, frame, column, target)
    frame, notes = label_column.whole(frame, column, label, "file")
    files = tuple(path.parent / str(one) for one in frame[column])
    absent = [one for one in files if not one.is_file()]
    if absent:
        raise NotFoundError(
            f"{path} names {len(absent)} files that are not there, {absent[0]} the first",
            f"paths count from the table's folder; {label_column.as_table(path, target)}",
        )
    numbers, names = label_column.classes(path, frame[label], "files")
    return Labelled(path.parent, files, numbers, names, np.full(len(files), TRAIN), tuple(notes))
