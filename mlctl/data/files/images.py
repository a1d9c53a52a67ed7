"""A user's own images, which are read from disk as needed, so that they do not have to fit into memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlctl import pictures
from mlctl.data.dataset import Dataset, Split
from mlctl.data.files.labelled_files import IMAGE_SUFFIXES, count_by_class, digest, find_labelled_files
from mlctl.errors import BadDataError, UsageError
from mlctl.pictures import MAX_PIXEL

MAX_UNREADABLE_SHARE = 0.05  # of all files
MAX_LISTED = 10
MIN_SIDE, MAX_SIDE = 8, 4096

Array = np.ndarray[Any, Any]
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class ImageFiles:
    """The n image files of a split; each is (height, width, 3) once it is read. Only `pixels` and `dense` read."""

    files: tuple[Path, ...]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.files)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the dense array: (n, height, width, 3)."""
        return len(self), self.height, self.width, 3

    def take(self, rows: Array) -> ImageFiles:
        """Return these files, in this order."""
        return replace(self, files=tuple(self.files[row] for row in rows))

    def pixels(self) -> Array:
        """Read all images: (n, height, width, 3) uint8, as a client sends them; take a few rows first.

        Raises BadDataError for a file that is not readable any more.
        """
        read = partial(read_pixels, height=self.height, width=self.width)
        images = np.empty(self.shape, np.uint8)
        with _thread_pool() as pool:
            for row, pixels in enumerate(pool.map(read, self.files)):
                images[row] = pixels
        return images

    def dense(self) -> Array:
        """Read all images as the model takes them: float32 in 0..1."""
        return self.pixels().astype(np.float32) / np.float32(MAX_PIXEL)


def read_pixels(path: Path, height: int, width: int) -> Array:
    """Return an image as (height, width, 3) uint8: upright, cropped to the proportions, and scaled.

    Raises BadDataError.
    """
    try:
        return pictures.read_pixels(path, height, width)
    except pictures.PictureError as exc:
        raise BadDataError(f"{path} cannot be read as an image: {exc}", "repair or remove the file") from exc


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of a size such as 180x120 or 180; raises UsageError."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.lower().replace(" ", ""))
    height, width = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (0, 0)
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise UsageError(
            f"invalid value {text!r} for image_size",
            f"write HEIGHTxWIDTH, such as 180x180; each from {MIN_SIDE} to {MAX_SIDE}",
        )
    return height, width


def load_images(
    path: Path, size: tuple[int, int], *, seed: int, progress: Progress, source: str = "", target: str = ""
) -> Dataset:
    """Return the images of a folder or table by split, after reading each file once.

    Unreadable files are left out, and the notes name them. Raises BadDataError if there are too many of them.

    Args:
        path: Folder or table.
        size: (height, width) to which images are scaled.
        seed: Seed of the random split.
        progress: Called with a description, the number of files checked so far, and their total.
        source: Where the images come from, if not from `path`.
        target: The table's column of labels, if there are several candidates.
    """
    files = find_labelled_files(path, IMAGE_SUFFIXES, target)
    unreadable = _find_unreadable(files.files, size, progress)
    if len(unreadable) > MAX_UNREADABLE_SHARE * len(files.files):
        raise BadDataError(
            f"{len(unreadable)} of {len(files.files)} images cannot be read:"
            f" {'; '.join(map(str, unreadable[:MAX_LISTED]))}",
            f"repair or remove them; mlctl leaves out at most {MAX_UNREADABLE_SHARE:.0%}",
        )
    excluded = set(unreadable)
    files = files.take(np.array([row for row, file in enumerate(files.files) if file not in excluded]))
    sha256, size_bytes = digest(files.files, files.labels)
    images = ImageFiles(files.files, *size)
    train, validation, test = (
        Split(images.take(rows), files.labels[rows]) for rows in files.split_rows(seed)
    )
    notes = [
        f"{path.name}: {len(files.files):,} images of {count_by_class(files.labels, files.classes)}",
        *files.notes,
    ]
    if unreadable:
        listed = ", ".join(map(str, unreadable[:MAX_LISTED]))
        more = f" and {len(unreadable) - MAX_LISTED} more" if len(unreadable) > MAX_LISTED else ""
        notes.append(f"warning: {len(unreadable)} unreadable, left out: {listed}{more}")
    return Dataset(
        path.name.partition(".")[0],
        train,
        validation,
        test,
        classes=files.classes,
        source=source or str(path),
        sha256=sha256,
        size_bytes=size_bytes,
        split_seed=seed,
        notes=tuple(notes),
        as_raw=ImageFiles.pixels,
        extra={"params": {"image_height": size[0], "image_width": size[1]}},
    )


def _find_unreadable(files: Sequence[Path], size: tuple[int, int], progress: Progress) -> list[Path]:
    """Return the files that cannot be decoded, in order; images are not kept in memory."""
    unreadable = []
    with _thread_pool() as pool:
        results = pool.map(partial(_is_readable, size=size), files)
        for number, (path, readable) in enumerate(zip(files, results, strict=True), start=1):
            if not readable:
                unreadable.append(path)
            if number % 500 == 0:
                progress("checking images", number, len(files))
    return unreadable


def _is_readable(path: Path, size: tuple[int, int]) -> bool:
    """Whether a file can be decoded as an image; `size` is (height, width)."""
    try:
        read_pixels(path, *size)
    except BadDataError:
        return False
    return True


def _thread_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1))
