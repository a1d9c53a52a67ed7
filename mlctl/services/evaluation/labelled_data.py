"""All rows of a user's own file or folder with their labels, to score a model that was not trained on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from mlctl.data.dataset import class_indices
from mlctl.data.files import image_arrays, images, labelled_files
from mlctl.data.files.texts import read_text_file
from mlctl.data.sources import locate
from mlctl.data.tables import label_column, reader, target_column
from mlctl.domain.progress import NullProgress
from mlctl.errors import BadDataError, UsageError
from mlctl.recipes import Values
from mlctl.services.evaluation.inputs import read_batches
from mlctl.services.evaluation.predictor import Array, PredictorInfo, Rows

ROWS_PER_BATCH, FILES_PER_BATCH = 1000, 64
PROBE_SIZE = 32  # pixels in each direction, to test whether an image can be read


class LabelledData(Protocol):
    """Rows with labels, in the form that a model takes."""

    def digest(self) -> tuple[str, int]:
        """Return the SHA-256 that a training run on this data records, and the size in bytes."""

    def batches(self, info: PredictorInfo) -> Iterator[Rows]:
        """Yield all rows in batches; raises BadDataError."""

    def targets(self, info: PredictorInfo) -> tuple[Array, Array]:
        """Return which rows have a label (bool), and these labels: the model's class indices, or values."""


def open_labelled_data(recipe: str, path: Path, values: Values) -> LabelledData:
    """Return the data at a path as this recipe reads it; raises what reading it raises."""
    if recipe == "tabular" or (recipe == "texts" and not path.is_dir()):
        return TableData(path, values)
    if recipe == "images" and path.suffix.lower() == ".npz":
        return ArrayData(path, values.target)
    # a folder has no label column, even if the model was trained on a table of paths
    target = values.target if path.is_file() else ""
    suffixes = labelled_files.IMAGE_SUFFIXES if recipe == "images" else labelled_files.TEXT_SUFFIXES
    return FileData(path, suffixes, target)


class TableData:
    """A table with its labels in a column."""

    def __init__(self, path: Path, values: Values) -> None:
        self.path, self.target = path, values.target
        self.header = {"true": True, "false": False}.get(values.get("header", ""))
        self.sheet = str(values.get("sheet") or "")
        self.rare = values.get("rare", target_column.TRAIN_RARE)
        self.others = [Path(values[name]).expanduser() for name in ("validation", "test") if values.get(name)]

    def digest(self) -> tuple[str, int]:
        """Return the SHA-256 and the size in bytes."""
        files = [self.path, *(file for file in self.others if file.is_file())]
        return reader.combined_digest(files, header=self.header, sheet=self.sheet)

    def batches(self, info: PredictorInfo) -> Iterator[Rows]:
        """Yield all rows in batches."""
        listener = NullProgress()
        path = f"{self.path}::{self.sheet}" if self.sheet else str(self.path)
        for batch in read_batches(info, [path], size=ROWS_PER_BATCH, listener=listener):
            yield batch.rows

    def targets(self, info: PredictorInfo) -> tuple[Array, Array]:
        """Return which rows have a label, and these labels as the model has them."""
        names = info.signature.names
        table = reader.read(self.path, header=self.header, known_names=names, sheet=self.sheet).frame
        if not self.target and info.recipe != "texts":
            raise UsageError("mlctl does not know which column to predict", "name it: --target COLUMN")
        text = names[0] if info.recipe == "texts" else ""
        label = label_column.find_label_column(self.path, table, text, self.target)
        try:
            return target_column.read_labels(
                table[label],
                classes=info.classes,
                model=info.title,
                rare=self.rare,
                reading=info.target_reading,
            )
        except BadDataError as exc:
            raise BadDataError(f"{self.path}: {exc.message}", exc.hint) from exc


class FileData:
    """Images or texts with labels, from folders named after classes or from a table of paths.

    Images that cannot be read are left out.
    """

    def __init__(self, path: Path, suffixes: Sequence[str], target: str) -> None:
        self.path, self.suffixes, self.target = path, suffixes, target

    @property
    def _are_texts(self) -> bool:
        return self.suffixes == labelled_files.TEXT_SUFFIXES

    @cached_property
    def _files(self) -> labelled_files.LabelledFiles:
        files = labelled_files.find_labelled_files(self.path, self.suffixes, self.target)
        if self._are_texts:
            return files
        readable = np.flatnonzero([_is_readable(file) for file in files.files])
        if not len(readable):
            raise BadDataError(f"{self.path}: none of its images can be read", "check the files")
        return files.take(readable)

    def digest(self) -> tuple[str, int]:
        """Return the SHA-256 and the size in bytes."""
        return labelled_files.digest_files(self._files.files, self._files.labels)

    def batches(self, info: PredictorInfo) -> Iterator[Rows]:
        """Yield all rows in batches."""
        files = self._files.files
        for start in range(0, len(files), FILES_PER_BATCH):
            batch = files[start : start + FILES_PER_BATCH]
            if self._are_texts:
                yield {info.signature.names[0]: [read_text_file(file) for file in batch]}
            else:
                images = read_batches(info, [str(file) for file in batch], size=1, listener=NullProgress())
                yield np.concatenate([np.asarray(image.rows) for image in images])

    def targets(self, info: PredictorInfo) -> tuple[Array, Array]:
        """Return which rows have a label, and these labels as the model has them."""
        files = self._files
        indices = class_indices(files.classes, info.classes, info.title)
        return np.ones(len(files.files), bool), indices[files.labels]


class ArrayData:
    """Images and their labels in an .npz file."""

    def __init__(self, path: Path, target: str) -> None:
        self.path, self.target = path, target

    def digest(self) -> tuple[str, int]:
        """Return the SHA-256 and the size in bytes."""
        return locate.sha256([self.path]), self.path.stat().st_size

    def batches(self, info: PredictorInfo) -> Iterator[Rows]:
        """Yield all rows in batches."""
        for batch in read_batches(info, [str(self.path)], size=ROWS_PER_BATCH, listener=NullProgress()):
            yield batch.rows

    def targets(self, info: PredictorInfo) -> tuple[Array, Array]:
        """Return which rows have a label, and these labels as the model has them."""
        labels = image_arrays.read_labels(self.path, self.target)
        return np.ones(len(labels), bool), class_indices(map(str, labels.tolist()), info.classes, info.title)


def _is_readable(file: Path) -> bool:
    try:
        images.read_pixels(file, PROBE_SIZE, PROBE_SIZE)
    except BadDataError:
        return False
    return True
