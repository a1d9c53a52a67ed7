"""A user's own file or folder with its labels, all of it: what a model is scored on that never saw it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from mlctl.data.dataset import class_numbers
from mlctl.data.files import images, labelled_files
from mlctl.data.files.texts import text_of
from mlctl.data.sources import locate
from mlctl.data.tables import label_column, reader
from mlctl.domain.progress import NullProgress
from mlctl.errors import BadDataError, UsageError
from mlctl.recipes import Values
from mlctl.services.evaluation import inputs
from mlctl.services.evaluation.predictor import About, Array, Rows

RECIPES = ("tabular", "images", "texts")  # those whose data a user brings
AT_ONCE, FILES_AT_ONCE = 1000, 64
TRIED = 32  # pixels each way that a picture is read at to see whether it can be


class Labelled(Protocol):
    """Rows with their labels, read as a model takes them."""

    def digest(self) -> tuple[str, int]:
        """Return the SHA-256 that a run trained on the same would have recorded, and the size in bytes."""

    def rows(self, about: About) -> Iterator[Rows]:
        """Yield all rows, some at a time; raises BadDataError."""

    def targets(self, about: About) -> tuple[Array, Array]:
        """Return which rows have a label (bool), and theirs: the model's class numbers, or values."""


def labelled(recipe: str, path: Path, values: Values) -> Labelled:
    """Return what lies at a path as this recipe reads it; raises as reading it does."""
    if recipe == "tabular" or (recipe == "texts" and path.is_file()):
        return Table(path, values.target, {"true": True, "false": False}.get(values.get("header", "")))
    target = (
        values.target if path.is_file() else ""
    )  # a model of a table's pictures may be asked with a folder's
    return Files(path, labelled_files.PICTURES if recipe == "images" else labelled_files.TEXTS, target)


class Table:
    """A table that holds its labels in a column."""

    def __init__(self, path: Path, target: str, header: bool | None) -> None:
        self.path, self.target, self.header = path, target, header

    def digest(self) -> tuple[str, int]:
        """Return the SHA-256 and the size in bytes."""
        return locate.sha256([self.path]), self.path.stat().st_size

    def rows(self, about: About) -> Iterator[Rows]:
        """Yield all rows, some at a time."""
        return (batch.rows for batch in inputs.batches(about, [str(self.path)], AT_ONCE, NullProgress()))

    def targets(self, about: About) -> tuple[Array, Array]:
        """Return which rows have a label, and theirs as the model has them."""
        names = about.signature.names
        frame, _ = reader.read(self.path, self.header, names)
        if not self.target and about.recipe != "texts":
            raise UsageError("which column holds what is to be predicted?", "name it: --target COLUMN")
        text = names[0] if about.recipe == "texts" else ""
        label = label_column.column(self.path, frame, text, self.target)
        return label_column.known(self.path, frame, label, self.header, about.classes, _named(about))


class Files:
    """Pictures or texts, labelled by their folders or by a table of paths; those that cannot be read are none."""

    def __init__(self, path: Path, endings: Sequence[str], target: str) -> None:
        self.path, self.endings, self.target = path, endings, target

    @cached_property
    def _found(self) -> labelled_files.Labelled:
        found = labelled_files.found(self.path, self.endings, self.target)
        if self.endings == labelled_files.TEXTS:
            return found
        good = np.flatnonzero([_is_picture(file) for file in found.files])
        if not len(good):
            raise BadDataError(f"{self.path}: none of its pictures can be read", "look at the files")
        return found.take(good)

    def digest(self) -> tuple[str, int]:
        """Return the SHA-256 and the size in bytes."""
        return labelled_files.digest(self._found.files, self._found.labels)

    def rows(self, about: About) -> Iterator[Rows]:
        """Yield all rows, some at a time."""
        files = self._found.files
        for first in range(0, len(files), FILES_AT_ONCE):
            some = files[first : first + FILES_AT_ONCE]
            if self.endings == labelled_files.TEXTS:
                yield {about.signature.names[0]: [text_of(one) for one in some]}
            else:
                read = inputs.batches(about, [str(one) for one in some], 1, NullProgress())
                yield np.concatenate([np.asarray(batch.rows) for batch in read])

    def targets(self, about: About) -> tuple[Array, Array]:
        """Return which rows have a label, and theirs as the model has them."""
        found = self._found
        numbers = class_numbers(found.classes, about.classes, _named(about))
        return np.ones(len(found.files), bool), numbers[found.labels]


def _named(about: About) -> str:
    return f"{about.name} {about.version}".strip()


def _is_picture(file: Path) -> bool:
    try:
        images.pixels_of(file, TRIED, TRIED)
    except BadDataError:
        return False
    return True
