"""A user's own images. Many are read from disk as needed, so that they do not have to fit into memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mlctl import pictures
from mlctl.data.dataset import Dataset, Split
from mlctl.data.files.labelled_files import (
    IMAGE_SUFFIXES,
    count_by_class,
    digest_files,
    find_labelled_files,
    max_left_out,
)
from mlctl.data.files.pixel_file import PixelFile, make_pixel_file
from mlctl.domain.short_texts import list_some
from mlctl.errors import BadDataError, UsageError
from mlctl.pictures import MAX_PIXEL

MAX_LISTED = 10
MIN_SIDE, MAX_SIDE = 8, 4096
AUTO = "auto"  # image_size that fits the images
MAX_AUTO_PIXELS = 128 * 128  # larger images are scaled down to as many pixels
SIDE_STEP = 8  # sides of images that are scaled down are multiples of this
LIKE_A_SQUARE = 1.1  # largest ratio of the sides of images that are cropped to squares
MAX_SAMPLED = 1000  # images whose size is read to find the typical one
MAX_BYTES_IN_MEMORY = 64_000_000  # of pixels; more are kept in a temporary file
TURNED = (5, 6, 7, 8)  # values of EXIF's orientation with which height and width change places
ORIENTATION = 274

Array = np.ndarray[Any, Any]
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class ImageFiles:
    """The n image files of a split; each is (height, width, 3) once it is read. Only `pixels` and `dense` read.

    Attributes:
        files: The files.
        height: Height to which images are scaled.
        width: The same for the width.
        cached: Pixels (m, height, width, 3), in memory or in a temporary file; None: images are decoded when needed.
        places: Place of each file in `cached`.
    """

    files: tuple[Path, ...]
    height: int
    width: int
    cached: Array | PixelFile | None = field(default=None, repr=False, compare=False)
    places: Array | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the dense array: (n, height, width, 3)."""
        return len(self), self.height, self.width, 3

    def take(self, rows: Array) -> ImageFiles:
        """Return these files, in this order."""
        places = None if self.places is None else self.places[rows]
        return replace(self, files=tuple(self.files[row] for row in rows), places=places)

    def append(self, others: ImageFiles) -> ImageFiles:
        """Return these files, and then others that `load_images` has read with them."""
        places = None
        if self.places is not None and others.places is not None:
            places = np.concatenate([self.places, others.places])
        return replace(self, files=self.files + others.files, places=places)

    def pixels(self) -> Array:
        """Read all images: (n, height, width, 3) uint8, as a client sends them; take a few rows first.

        Raises BadDataError for a file that is not readable any more.
        """
        if self.cached is not None and self.places is not None:
            return np.asarray(self.cached[self.places])
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


def parse_size(text: str) -> tuple[int, int] | None:
    """Return (height, width) of a size such as 180x120 or 180; None for auto. Raises UsageError."""
    if text.strip().lower() == AUTO:
        return None
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.lower().replace(" ", ""))
    height, width = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (0, 0)
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise UsageError(
            f"invalid value {text!r} for image_size",
            f"write HEIGHTxWIDTH, such as 180x180; each from {MIN_SIDE} to {MAX_SIDE}",
        )
    return height, width


def choose_size(files: Sequence[Path]) -> tuple[int, int]:
    """Return the (height, width) that fits images: their median, or the same proportions in fewer pixels.

    Files that cannot be read do not count.
    """
    sample = files[:: -(-len(files) // MAX_SAMPLED)] if files else ()
    with _thread_pool() as pool:
        sizes = [size for size in pool.map(_size_of, sample) if size is not None]
    if not sizes:
        return MIN_SIDE, MIN_SIDE
    height, width = np.median(sizes, axis=0)
    if max(height, width) < LIKE_A_SQUARE * min(height, width):
        height = width = min(height, width)
    scale = (MAX_AUTO_PIXELS / (height * width)) ** 0.5
    if scale < 1:
        height, width = (SIDE_STEP * round(side * scale / SIDE_STEP) for side in (height, width))
    return max(MIN_SIDE, int(height)), max(MIN_SIDE, int(width))


def _size_of(path: Path) -> tuple[int, int] | None:
    """Return (height, width) of an image as it is shown; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(ORIENTATION) in TURNED
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None


def load_images(
    path: Path,
    size: tuple[int, int] | None,
    *,
    seed: int,
    progress: Progress,
    source: str = "",
    target: str = "",
) -> Dataset:
    """Return the images of a folder or table by split, after reading each file once.

    Unreadable files are left out, and the notes name them. Raises BadDataError if there are too many of them.

    Args:
        path: Folder or table.
        size: (height, width) to which images are scaled; None: the size that fits them.
        seed: Seed of the random split.
        progress: Called with a description, the number of files checked so far, and their total.
        source: Where the images come from, if not from `path`.
        target: The table's column of labels, if there are several candidates.
    """
    files = find_labelled_files(path, IMAGE_SUFFIXES, target)
    chosen = size is None
    size = size or choose_size(files.files)
    unreadable, cached = _read_all(files.files, size, progress)
    if len(unreadable) > (most := max_left_out(len(files.files))):
        raise BadDataError(
            f"{len(unreadable):,} of {len(files.files):,} images cannot be read: {list_some(unreadable, MAX_LISTED)}",
            f"repair or remove them; of so many images, mlctl leaves out at most {most:,}",
        )
    excluded = set(unreadable)
    readable = np.array([row for row, file in enumerate(files.files) if file not in excluded])
    files = files.take(readable)
    sha256, size_bytes = digest_files(files.files, files.labels)
    images = ImageFiles(files.files, *size, cached, None if cached is None else readable)
    train, validation, test = (
        Split(images.take(rows), files.labels[rows]) for rows in files.split_rows(seed)
    )
    notes = [
        f"{path.name}: {len(files.files):,} images of {count_by_class(files.labels, files.classes)}",
        *files.notes,
    ]
    if chosen:
        notes.append(
            f"images are scaled to {size[0]}x{size[1]} pixels; --set image_size=HEIGHTxWIDTH changes it"
        )
    if unreadable:
        listed = list_some(unreadable, MAX_LISTED)
        notes.append(f"warning: {len(unreadable)} unreadable, left out: {listed}")
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


def _read_all(
    files: Sequence[Path], size: tuple[int, int], progress: Progress
) -> tuple[list[Path], Array | PixelFile | None]:
    """Return the files that cannot be decoded, and the pixels of all others, unless they are too large."""
    shape = (len(files), *size, 3)
    is_small = np.prod(shape) <= MAX_BYTES_IN_MEMORY
    kept = np.zeros(shape, np.uint8) if is_small else make_pixel_file(shape)
    unreadable = []

    def read(row: int) -> bool:
        try:
            pixels = read_pixels(files[row], *size)
        except BadDataError:
            return False
        if kept is not None:
            kept[row] = pixels
        return True

    with _thread_pool() as pool:
        for number, readable in enumerate(pool.map(read, range(len(files))), start=1):
            if not readable:
                unreadable.append(files[number - 1])
            if number % 500 == 0:
                progress("checking images", number, len(files))
    return unreadable, kept


def _thread_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1))
