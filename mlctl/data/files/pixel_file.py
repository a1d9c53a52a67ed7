"""Pixels of images in a temporary file, so that each image is decoded once, and memory does not grow."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import numpy as np

MAX_BYTES = 4_000_000_000
MAX_SHARE_OF_FREE_SPACE = 0.25

Array = np.ndarray[Any, Any]


class PixelFile:
    """An array (n, height, width, 3) of uint8 in a file without a name: it vanishes with the process.

    A copy in another process is None.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Raise OSError if there is no place for the file."""
        self.shape = shape
        self._row_bytes = int(np.prod(shape[1:]))
        self._file = tempfile.TemporaryFile(prefix="mlctl-pixels-")  # noqa: SIM115  # open as long as the array
        if hasattr(os, "posix_fallocate"):  # not on macOS; pixels would be lost if the disk fills up
            os.posix_fallocate(self._file.fileno(), 0, shape[0] * self._row_bytes)

    def __setitem__(self, row: int, pixels: Array) -> None:
        """Write an image."""
        os.pwrite(
            self._file.fileno(), np.ascontiguousarray(pixels, np.uint8).tobytes(), row * self._row_bytes
        )

    def __getitem__(self, rows: Array) -> Array:
        """Read images: (len(rows), height, width, 3)."""
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for place, row in enumerate(rows.tolist()):
            data = os.pread(self._file.fileno(), self._row_bytes, row * self._row_bytes)
            found[place] = np.frombuffer(data, np.uint8).reshape(self.shape[1:])
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """Return None in another process, where the file is not open."""
        return type(None), ()


def make_pixel_file(shape: tuple[int, ...]) -> PixelFile | None:
    """Return a file for an array; None if it would be too large, or there is no place for it."""
    size = int(np.prod(shape))
    if not hasattr(os, "pread"):  # Windows
        return None
    try:
        if size > min(MAX_BYTES, MAX_SHARE_OF_FREE_SPACE * shutil.disk_usage(tempfile.gettempdir()).free):
            return None
        return PixelFile(shape)
    except OSError:  # such as a folder that cannot be written
        return None
