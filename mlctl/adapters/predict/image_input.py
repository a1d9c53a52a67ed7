"""Image files in the form of the small images that a model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from mlctl.data.files.images import MAX_PIXEL, convert_to_8_bit, read_pixels
from mlctl.errors import BadDataError, NotFoundError

# drawings fill images up to this height; in larger ones, as in MNIST, they have a margin
MAX_FILLED_HEIGHT = 16
MARGIN = 4 / 28  # of the image's height and width, on each side
MIN_INK = 0.15  # fainter pixels do not count as part of a drawing

Array = np.ndarray[Any, Any]


def read_image(file: Path, shape: tuple[int, ...], full_scale: float, dtype: str) -> Array:
    """Read an image file as a model input.

    A drawing in one colour is cropped, turned into light strokes on dark, and fitted into the frame, as in
    data sets of digits; an image of exactly the expected size is not changed. A colour image is turned upright,
    cropped to the frame's proportions and scaled, as in training.

    Args:
        file: the image.
        shape: (height, width) or (height, width, channels).
        full_scale: pixel value of white.
        dtype: dtype of the result.

    Returns:
        Pixels (1, *shape) from 0 to `full_scale`.

    Raises:
        NotFoundError: if there is no such file.
        BadDataError: if the file cannot be read as an image.
    """
    channels = shape[2] if len(shape) == 3 else 1
    if not file.is_file():
        raise NotFoundError(f"there is no image {file}", "check the path")
    if channels not in (1, 3):
        raise BadDataError(f"the model takes {channels} values per pixel", "use an array: a .npy file")
    height, width = shape[:2]
    if channels == 3:
        light = read_pixels(file, height, width) / MAX_PIXEL
    else:
        light = _read_drawing(file, height, width)
    pixels = light * full_scale
    if np.dtype(dtype).kind in "iu":
        pixels = np.rint(pixels)
    return np.asarray(pixels, dtype).reshape(1, *shape)


def _read_drawing(file: Path, height: int, width: int) -> Array:
    """Return a drawing (height, width) with values from 0 to 1."""
    try:
        with Image.open(file) as opened:
            opened.load()
            image = _on_white(convert_to_8_bit(opened)).convert("L")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as exc:
        raise BadDataError(f"{file} cannot be read as an image", "use PNG or JPEG") from exc
    light = np.asarray(image) / 255.0
    return light if image.size == (width, height) else fit_to_frame(light, height, width)


def fit_to_frame(light: Array, height: int, width: int) -> Array:
    """Return a drawing (rows, columns) in 0..1 as light strokes on dark, cropped and centred (height, width)."""
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    strokes = 1 - light if border.mean() > 0.5 else light
    background = np.median(strokes)
    strokes = np.clip((strokes - background) / max(1e-6, 1 - background), 0, 1)
    inked = np.argwhere(strokes > MIN_INK)
    if not len(inked):
        return np.zeros((height, width))
    (top, left), (bottom, right) = inked.min(axis=0), inked.max(axis=0) + 1
    cropped = Image.fromarray((strokes[top:bottom, left:right] * 255).astype(np.uint8))
    margin = 0.0 if height <= MAX_FILLED_HEIGHT else MARGIN
    room = (height * (1 - 2 * margin), width * (1 - 2 * margin))
    scale = min(room[0] / cropped.height, room[1] / cropped.width)
    size = (max(1, round(cropped.width * scale)), max(1, round(cropped.height * scale)))
    resampling = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    scaled = np.asarray(cropped.resize(size, resampling)) / 255.0
    frame = np.zeros((height, width))
    top, left = (height - scaled.shape[0]) // 2, (width - scaled.shape[1]) // 2
    frame[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    frame /= max(frame.max(), 1e-6)
    return frame


def _on_white(image: Image.Image) -> Image.Image:
    """Return the image without transparency, on a white background."""
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
