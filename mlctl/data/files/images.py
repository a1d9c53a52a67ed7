"""A user's own pictures: files that are read when they are needed, so that memory does not grow with them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mlctl.data.dataset import Dataset, Split
from mlctl.data.files import labelled_files
from mlctl.errors import BadDataError, UsageError

MOST_UNREADABLE = 0.05  # of all files: more than that is no accident
SHOWN = 10
FULLY_LIT = 255.0
SCALES = {"I": (255.0, 65535.0), "F": (1.0, 255.0, 65535.0)}  # of pictures that do not say what is white

Array = np.ndarray[Any, Any]
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class ImageFiles:
    """n picture files, each (height, width, 3) once it is read; slicing and taking reads nothing."""

    files: tuple[Path, ...]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.files)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """What `dense` returns: (n, height, width, 3)."""
        return len(self), self.height, self.width, 3

    def take(self, rows: Array) -> ImageFiles:
        """Return these files, in this order."""
        return replace(self, files=tuple(self.files[row] for row in rows))

    def pixels(self) -> Array:
        """Read all of them: (n, height, width, 3) uint8, as a client sends them; for few at a time.

        Raises BadDataError for a file that was readable when it was looked at, and no longer is.
        """
        found = np.empty(self.shape, np.uint8)

        def read(row: int) -> None:
            found[row] = pixels_of(self.files[row], self.height, self.width)

        with ThreadPoolExecutor(_threads()) as pool:
            list(pool.map(read, range(len(self))))
        return found

    def dense(self) -> Array:
        """Read all of them as the model takes them: float32 in 0..1."""
        return self.pixels().astype(np.float32) / np.float32(FULLY_LIT)


def pixels_of(path: Path, height: int, width: int) -> Array:
    """Return one picture as (height, width, 3) uint8: turned upright, cut to the wanted shape, scaled."""
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (2 * width, 2 * height))  # a JPEG is then decoded at a fraction of its size
            upright = in_bytes(ImageOps.exif_transpose(picture)).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR))
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as exc:
        raise BadDataError(f"{path} cannot be read as a picture: {exc}", "mend it or take it away") from exc


def in_bytes(picture: Image.Image) -> Image.Image:
    """Return deep greys (16 bits, 32 bits, fractions) scaled to 0..255; any other picture as it is.

    Pillow's own conversion cuts them off at 255, which is white all over. What is white is 65535 in 16 bits;
    wider modes do not say: there it is the first of SCALES that the picture does not exceed, else its maximum.
    """
    if not picture.mode.startswith(("I", "F")):
        return picture
    values = np.nan_to_num(np.asarray(picture, np.float32), posinf=0.0, neginf=0.0)
    brightest = float(values.max())
    scales = (one for one in SCALES.get(picture.mode, ()) if brightest <= one)
    white = 65535.0 if ";16" in picture.mode else next(scales, brightest)
    return Image.fromarray(np.rint(np.clip(values / white, 0, 1) * FULLY_LIT).astype(np.uint8))


def size_of(text: str) -> tuple[int, int]:
    """Return (height, width) from 180x180, or 180; raises UsageError."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text.lower().replace(" ", ""))
    height, width = (int(found.group(1)), int(found.group(2) or found.group(1))) if found else (0, 0)
    if not (8 <= height <= 4096 and 8 <= width <= 4096):
        raise UsageError(f"image_size={text} is no size", "write HEIGHTxWIDTH, 8x8 to 4096x4096: 180x180")
    return height, width


def read(
    path: Path, size: tuple[int, int], seed: int, progress: Progress, said: str = "", target: str = ""
) -> Dataset:
    """Return a folder's or a table's pictures by split; every file is looked at once.

    `target` is the table's column of labels, where several could be. Unreadable files are left out and named in
    the notes; raises BadDataError where they are too many.
    """
    found = labelled_files.found(path, labelled_files.PICTURES, target)
    bad = _unreadable(found.files, size, progress)
    if len(bad) > MOST_UNREADABLE * len(found.files):
        listed = "; ".join(str(one) for one in bad[:SHOWN])
        raise BadDataError(
            f"{len(bad)} of {len(found.files)} pictures cannot be read: {listed}",
            f"mend them or take them away; up to {MOST_UNREADABLE:.0%} are left out",
        )
    unreadable = set(bad)
    good = found.take(np.array([row for row, one in enumerate(found.files) if one not in unreadable]))
    sha, size_bytes = labelled_files.digest(good.files, good.labels)
    pictures = ImageFiles(good.files, *size)
    train, validation, test = (Split(pictures.take(rows), good.labels[rows]) for rows in good.dealt(seed))
    counts = np.bincount(good.labels, minlength=len(good.classes))
    said_of = ", ".join(f"{name} {count:,}" for name, count in zip(good.classes, counts, strict=True))
    notes = [
        f"{path.name}: {len(good.files):,} pictures of {len(good.classes)} classes: {said_of}",
        *good.notes,
    ]
    if bad:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        notes.append(f"warning: {len(bad)} unreadable, left out: {', '.join(map(str, bad[:SHOWN]))}{more}")
    return Dataset(
        path.name.partition(".")[0], train, validation, test, good.classes, source=said or str(path), sha256=sha,
        size_bytes=size_bytes, split_seed=seed, notes=tuple(notes), as_raw=_pixels,
        extra={"params": {"image_height": size[0], "image_width": size[1]}},
    )  # fmt: skip


def _pixels(pictures: ImageFiles) -> Array:
    return pictures.pixels()


def _unreadable(files: Sequence[Path], size: tuple[int, int], progress: Progress) -> list[Path]:
    """Return the files that cannot be decoded, in order; each is decoded once, and let go."""

    def wrong(path: Path) -> bool:
        try:
            pixels_of(path, *size)
        except BadDataError:
            return True
        return False

    bad = []
    with ThreadPoolExecutor(_threads()) as pool:
        for number, (path, is_wrong) in enumerate(zip(files, pool.map(wrong, files), strict=True), start=1):
            if is_wrong:
                bad.append(path)
            if number % 500 == 0:
                progress("looking at pictures", number, len(files))
    return bad


def _threads() -> int:
    return min(8, os.cpu_count() or 1)
