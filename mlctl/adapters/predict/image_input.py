"""Image files in the form of the small images that a model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlctl import pictures
from mlctl.errors import BadDataError, NotFoundError

Array = np.ndarray[Any, Any]


def read_image(file: Path, shape: tuple[int, ...], full_scale: float, dtype: str) -> Array:
    """Return an image file as a model input (1, *shape), as `pictures.read_picture` does.

    Args:
        file: the image.
        shape: (height, width) or (height, width, channels).
        full_scale: pixel value of white.
        dtype: dtype of the result.

    Raises:
        NotFoundError: if there is no such file.
        BadDataError: if the file cannot be read as an image.
    """
    if not file.is_file():
        raise NotFoundError(f"there is no image {file}", "check the path")
    channels = shape[2] if len(shape) == 3 else 1
    if channels not in (1, 3):
        raise BadDataError(f"the model takes {channels} values per pixel", "use an array: a .npy file")
    try:
        return pictures.read_picture(file, shape, full_scale=full_scale, dtype=dtype)
    except pictures.PictureError as exc:
        raise BadDataError(f"{file} cannot be read as an image: {exc}", "use PNG or JPEG") from exc
