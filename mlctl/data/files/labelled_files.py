"""Labelled files: a folder for each class, or a table of file names and labels.

To add a file format, add its suffix to `IMAGE_SUFFIXES` or `TEXT_SUFFIXES`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data import splits
from mlctl.data.class_order import BY_NAME, describe_positive, describe_rare, order_classes
from mlctl.data.splits import MIN_ROWS_PER_CLASS, TEST, TRAIN, VALIDATION
from mlctl.data.tables import label_column, reader
from mlctl.domain.short_texts import list_some
from mlctl.errors import BadDataError, NotFoundError, UsageError

if TYPE_CHECKING:
    import pandas as pd

TEXT_SUFFIXES = (".txt",)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
UNREAD_SUFFIXES = (".heic", ".heif", ".avif", ".svg", ".jp2", ".psd", ".dng", ".cr2", ".nef")  # of images
SPLIT_FOLDERS = (("train", "training"), ("val", "valid", "validation"), ("test", "testing"))
UNLABELLED_FOLDERS = ("unsup", "unsupervised", "unlabeled", "unlabelled")  # such as train/unsup of IMDB
MAC_ARCHIVE = "__MACOSX"  # a Mac adds this copy of the folder tree to a zip file
CHECKED_PATHS = 20
MAX_DEPTH = 3  # of the subfolders in which files of a table are looked for
MAX_LEFT_OUT_SHARE, MAX_LEFT_OUT = 0.05, 3  # missing or unreadable files; the larger number counts
MAX_LISTED = 8

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class LabelledFiles:
    """Files with their labels.

    Attributes:
        labels: Class index of each file.
        split: The split in which each file is published: TRAIN, VALIDATION or TEST; TRAIN if there are no splits.
        notes: Which folders are which split, and which files are left out.
    """

    root: Path
    files: tuple[Path, ...]
    labels: Array
    classes: tuple[str, ...]
    split: Array
    notes: tuple[str, ...] = ()

    def take(self, rows: Array) -> LabelledFiles:
        """Return these files, in this order."""
        files = tuple(self.files[row] for row in rows)
        return replace(self, files=files, labels=self.labels[rows], split=self.split[rows])

    def split_rows(self, seed: int) -> tuple[Array, ...]:
        """Return the row numbers of training, validation and test.

        A published split stays as it is. A split that is not published is chosen at random from the training files,
        within each class. Raises BadDataError if a class has too few files.
        """
        counts = np.bincount(self.labels[self.split == TRAIN], minlength=len(self.classes))
        needed = 1 if {VALIDATION, TEST} <= set(self.split) else MIN_ROWS_PER_CLASS
        if (counts >= needed).sum() < 2 or not counts.all():
            raise BadDataError(
                f"class {self.classes[int(counts.argmin())]} has {counts.min()} usable files",
                f"two classes need {needed} each, and no class may be empty",
            )
        return splits.complete_splits(self.split, seed, self.labels)


def find_labelled_files(path: Path, suffixes: Sequence[str], target: str = "") -> LabelledFiles:
    """Return the labelled files of a folder, or of a table whose labels are in column `target`.

    Raises NotFoundError, BadDataError, and UsageError for a target that does not exist.
    """
    if path.is_dir():
        if target:
            raise UsageError(
                f"--target {target} is a column of a table, but {path} is a folder", "leave --target out"
            )
        return _files_of_folder(path, suffixes)
    if path.is_file():
        return _files_of_table(path, suffixes, target)
    raise NotFoundError(f"there is no file or folder {path}", "check the path")


def has_class_folders(folder: Path, suffixes: Sequence[str]) -> bool:
    """Whether a folder, or its folder `train`, holds at least two class folders with such files."""
    train = _split_folders(folder, suffixes)[TRAIN]
    return train is not None and len(_class_folders(train, suffixes)) > 1


def digest_files(files: Sequence[Path], labels: Array) -> tuple[str, int]:
    """Return the SHA-256 of all contents and labels, and the size of the files in bytes."""
    return digest((path.read_bytes() for path in files), labels)


def digest(contents: Iterable[bytes], labels: Array) -> tuple[str, int]:
    """Return the SHA-256 of all contents and labels, and the size of the contents in bytes."""
    sha256, size = hashlib.sha256(np.ascontiguousarray(labels).tobytes()), 0
    for content in contents:
        sha256.update(hashlib.sha256(content).digest())
        size += len(content)
    return sha256.hexdigest(), size


def count_by_class(labels: Array, classes: Sequence[str]) -> str:
    """Describe how many rows each class has."""
    counts = np.bincount(labels, minlength=len(classes))
    listed = ", ".join(f"{name} {count:,}" for name, count in zip(classes, counts, strict=True))
    return f"{len(classes)} classes: {listed}"


def are_file_names(values: pd.Series[Any], suffixes: Sequence[str]) -> bool:
    """Whether a column holds names of files with such suffixes, and not URLs."""
    if values.dtype.kind in "iufb":  # saves time in tables with a thousand columns of numbers
        return False
    sample = values.dropna().astype(str).head(200)
    is_name = sample.str.lower().str.endswith(tuple(suffixes)) & ~sample.str.contains("://", regex=False)
    return len(sample) > 0 and bool(is_name.mean() > 0.9)


def do_files_exist(path: Path, values: pd.Series[Any], suffixes: Sequence[str]) -> bool:
    """Whether one of the first files that a column of the table at `path` names exists, or most are in subfolders."""
    names = values.dropna().head(CHECKED_PATHS)
    if any((path.parent / str(name)).is_file() for name in names):
        return True
    return sum(file.is_file() for file in locate_listed(path, names, suffixes)) > len(names) / 2


def locate_listed(path: Path, names: Iterable[Any], suffixes: Sequence[str]) -> list[Path]:
    """Return the files that the table at `path` names, which may not exist.

    Paths are relative to the table's folder. A file that is not there may be in any subfolder, if its name is unique;
    so a table works that names files without their folder, or as paths of another machine.
    """
    files = [path.parent / str(name) for name in names]
    if all(file.is_file() for file in files):
        return files
    by_name: dict[str, list[Path]] = {}
    for found in _walk_files(path.parent, suffixes, depth=MAX_DEPTH):
        by_name.setdefault(found.name, []).append(found)

    def locate(file: Path) -> Path:
        places = by_name.get(re.split(r"[\\/]", str(file))[-1], [])
        return places[0] if len(places) == 1 and not file.is_file() else file

    return [locate(file) for file in files]


def max_left_out(count: int) -> int:
    """Return how many of so many files may be missing or unreadable."""
    return max(MAX_LEFT_OUT, int(MAX_LEFT_OUT_SHARE * count))


def visible_folders(folder: Path) -> list[Path]:
    """Return the subfolders by name, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == MAC_ARCHIVE


def _walk_files(folder: Path, suffixes: Sequence[str], depth: int | None = None) -> Iterator[Path]:
    return map(Path, _walk_names(folder, suffixes, depth))


def _walk_names(folder: Path, suffixes: Sequence[str], depth: int | None = None) -> Iterator[str]:
    """Yield the files' paths as texts, which takes a third of the time."""
    for root, folders, files in os.walk(folder):
        is_deepest = depth is not None and len(Path(root).relative_to(folder).parts) >= depth
        folders[:] = [] if is_deepest else [name for name in folders if not _is_hidden(name)]
        for name in files:
            if name.lower().endswith(tuple(suffixes)) and not _is_hidden(name):
                yield os.path.join(root, name)


def _class_folders(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the subfolders that are classes: those with files in them, except unlabelled ones."""
    return [
        path
        for path in visible_folders(folder)
        if path.name.lower() not in UNLABELLED_FOLDERS and next(_walk_files(path, suffixes), None)
    ]


def _split_folders(folder: Path, suffixes: Sequence[str]) -> list[Path | None]:
    """Return the folders of training, validation and test, None for those that do not exist.

    A folder without class folders is not a split: "train" can be a class of vehicles.
    """
    folders = visible_folders(folder)
    train, *others = (
        next(
            (path for path in folders if path.name.lower() in names and _class_folders(path, suffixes)), None
        )
        for names in SPLIT_FOLDERS
    )
    return [train, *others] if train else [folder, None, None]


def _files_of_folder(folder: Path, suffixes: Sequence[str]) -> LabelledFiles:
    split_folders = _split_folders(folder, suffixes)
    class_folders = [
        {path.name: path for path in _class_folders(split_folder, suffixes)} if split_folder else {}
        for split_folder in split_folders
    ]
    classes = tuple(sorted(class_folders[TRAIN]))
    if len(classes) < 2:
        raise BadDataError(
            f"{folder} has {len(classes)} folders with {', '.join(suffixes[:3])} files in them, and 2 are needed",
            "put the files of each class into a folder of its own",
        )
    classes, reason = _in_order(classes, class_folders[TRAIN], suffixes)
    rows = [
        (path, label, split)
        for split, folders in enumerate(class_folders)
        for label, name in enumerate(classes)
        if name in folders
        for path in sorted(_walk_files(folders[name], suffixes), key=attrgetter("parts"))
    ]
    files, labels, split = zip(*rows, strict=True)
    missing = [[name for name in classes if name not in folders] for folders in class_folders]
    return LabelledFiles(
        root=folder,
        files=files,
        labels=np.array(labels, np.int64),
        classes=classes,
        split=np.array(split, np.int64),
        notes=(
            *([describe_positive(classes, reason)] if reason not in ("", BY_NAME) else []),
            *_split_notes(split_folders, missing),
            *_rare_notes(classes, np.array(labels), np.array(split)),
            *_left_out_notes(folder, suffixes, set(map(str, files))),
        ),
    )


def _in_order(
    classes: Sequence[str], folders: Mapping[str, Path], suffixes: Sequence[str]
) -> tuple[tuple[str, ...], str]:
    """Return the classes in order, of two the positive one last, and why it is the positive one."""
    if len(classes) != 2:
        return tuple(classes), ""
    ordered, reason = order_classes(
        {name: sum(1 for _ in _walk_names(folders[name], suffixes)) for name in classes}
    )
    return tuple(ordered), reason


def _split_notes(split_folders: Sequence[Path | None], missing: Sequence[Sequence[str]]) -> Iterator[str]:
    """Say which folder is the validation split, and which classes a split lacks."""
    train, validation, test = split_folders
    if train and validation:
        random_test = "" if test else f"; the test split is chosen at random from {train.name}"
        yield f"{validation.name} is the validation split{random_test}"
    for folder, classes in zip(split_folders, missing, strict=True):
        if folder and classes:
            yield f"warning: {folder.name} has no files of class {', '.join(classes)}"


def _rare_notes(classes: Sequence[str], labels: Array, split: Array) -> Iterator[str]:
    """Say which classes have too few files for a random split."""
    counts = np.bincount(labels[split == TRAIN], minlength=len(classes))
    rare = (counts > 0) & (counts < MIN_ROWS_PER_CLASS)
    if rare.any() and not {VALIDATION, TEST} <= set(split):
        names = [name for name, is_rare in zip(classes, rare, strict=True) if is_rare]
        yield describe_rare(names, int(counts[rare].sum()), "files")


def _left_out_notes(folder: Path, suffixes: Sequence[str], used: Collection[str]) -> Iterator[str]:
    """Say which folders hold files that are not used: they belong to no class, or to none of training."""
    counts = Counter(
        "/".join(Path(name).parent.relative_to(folder).parts[:2])
        for name in _walk_names(folder, suffixes)
        if name not in used
    )
    if counts:
        folders = [
            f"{name or 'the folder itself'} ({count:,} {'file' if count == 1 else 'files'})"
            for name, count in sorted(counts.items())
        ]
        yield f"warning: left out: {list_some(folders, MAX_LISTED)}"
    if suffixes == IMAGE_SUFFIXES:
        unread = Counter(path.suffix.lower() for path in _walk_files(folder, UNREAD_SUFFIXES))
        if unread:
            listed = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(unread.items()))
            yield f"warning: left out, as mlctl cannot read them: {listed}; save them as .jpg or .png"


def _files_of_table(path: Path, suffixes: Sequence[str], target: str) -> LabelledFiles:
    frame = reader.read(path).frame
    column = next((name for name in frame if name != target and are_file_names(frame[name], suffixes)), None)
    if column is None:
        raise BadDataError(
            f"{path} has no column of file names that end in {', '.join(suffixes)}",
            label_column.tabular_hint(path, target),
        )
    label = label_column.find_label_column(path, frame, column, target)
    frame, notes = label_column.drop_incomplete_rows(frame, column, label, "file")
    files, notes = locate_listed(path, frame[column], suffixes), list(notes)
    absent = [file for file in files if not file.is_file()]
    if len(absent) > max_left_out(len(files)):
        raise NotFoundError(
            f"{path}: {len(absent)} files in column {column} do not exist; the first is {absent[0]}",
            f"paths are relative to the folder of the table; {label_column.tabular_hint(path, target)}",
        )
    if absent:
        notes.append(
            f"warning: {len(absent)} of {len(files):,} files do not exist, left out: {absent[0].name} …"
        )
        exists = [file.is_file() for file in files]
        files, frame = [file for file, found in zip(files, exists, strict=True) if found], frame[exists]
    labels, classes, found = label_column.encode_classes(path, frame[label], "files")
    split = np.full(len(files), TRAIN)
    return LabelledFiles(
        root=path.parent,
        files=tuple(files),
        labels=labels,
        classes=classes,
        split=split,
        notes=(*notes, *found),
    )
