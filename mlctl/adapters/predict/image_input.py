"""Picture files in the form that a model of small pictures was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from mlctl.data.files.images import FULLY_LIT, in_bytes, pixels_of
from mlctl.errors import BadDataError, NotFoundError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"})
SMALL = 16  # pictures up to this height were drawn to fill it; larger ones, as MNIST's, have a margin
MARGIN = 4 / 28
INK = 0.15  # what is fainter does not count when the drawing's edges are looked for

Array = np.ndarray[Any, Any]


def read(file: Path, shape: tuple[int, ...], full_scale: float, dtype: str) -> Array:
    """Return (1, *shape) pixels from 0 to `full_scale`; `shape` is (height, width) or has channels last.

    A drawing in one colour is cut out, turned light on dark, and fitted into the frame, as data sets of digits
    are; a picture of the wanted size is taken as it is. A colour picture is turned upright, cut to the frame's
    proportions and scaled, as in training. Raises NotFoundError and BadDataError.
    """
    channels = shape[2] if len(shape) == 3 else 1
    if not file.is_file():
        raise NotFoundError(f"there is no picture {file}", "look at the path")
    if channels not in (1, 3):
        raise BadDataError(f"the model takes {channels} values a pixel", "give it an array: a .npy file")
    height, width = shape[:2]
    light = pixels_of(file, height, width) / FULLY_LIT if channels == 3 else _grey(file, height, width)
    pixels = light * full_scale
    if np.dtype(dtype).kind in "iu":
        pixels = np.rint(pixels)
    found: Array = np.asarray(pixels, dtype).reshape(1, *shape)
    return found


def _grey(file: Path, height: int, width: int) -> Array:
    try:
        with Image.open(file) as opened:
            opened.load()
            picture = _on_white(in_bytes(opened)).convert("L")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as exc:
        raise BadDataError(f"{file} is no picture that can be read", "PNG and JPEG are") from exc
    light = np.asarray(picture) / 255.0
    return light if picture.size == (width, height) else fitted(light, height, width)


def fitted(light: Array, height: int, width: int) -> Array:
    """Return a drawing (rows, columns) in 0..1 as light strokes on dark, cut out and centred in the frame."""
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    strokes = 1 - light if border.mean() > 0.5 else light
    strokes = np.clip((strokes - np.median(strokes)) / max(1e-6, 1 - np.median(strokes)), 0, 1)
    inked = np.argwhere(strokes > INK)
    if not len(inked):
        return np.zeros((height, width))
    (top, left), (bottom, right) = inked.min(axis=0), inked.max(axis=0) + 1
    cut = Image.fromarray((strokes[top:bottom, left:right] * 255).astype(np.uint8))
    margin = 0.0 if height <= SMALL else MARGIN
    room = (height * (1 - 2 * margin), width * (1 - 2 * margin))
    scale = min(room[0] / cut.height, room[1] / cut.width)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    small = (
        np.asarray(cut.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)) / 255.0
    )
    frame = np.zeros((height, width))
    down, over = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    frame[down : down + small.shape[0], over : over + small.shape[1]] = small
    frame /= max(frame.max(), 1e-6)
    return frame


def _on_white(picture: Image.Image) -> Image.Image:
    """Return the picture without transparency: what is seen through is white."""
    if picture.mode not in ("RGBA", "LA", "PA") and "transparency" not in picture.info:
        return picture
    whole = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
