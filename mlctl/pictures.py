"""Image files as a model sees them: one definition for training, `mlctl predict` and endpoints."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXEL = 255.0
# possible values of white in file modes that do not define it
WHITE_LEVELS = {"I": (255.0, 65535.0), "F": (1.0, 255.0, 65535.0)}
# drawings fill images up to this height; in larger ones, as in MNIST, they have a margin
MAX_FILLED_HEIGHT = 16
MARGIN = 4 / 28  # of the image's height and width, on each side
MIN_INK = 0.15  # fainter pixels do not count as part of a drawing
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # of the files that training looks for

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # a large picture is no mistake

Array = np.ndarray[Any, Any]
Source = Path | IO[bytes]


class PictureError(Exception):
    """A file that cannot be read as an image; the message says why."""


def read_picture(
    source: Source, shape: tuple[int, ...], *, full_scale: float, dtype: str, max_pixels: int | None = None
) -> Array:
    """Return an image as a model input (1, *shape) with values from 0 to `full_scale`.

    A drawing in one colour is cropped, turned into light strokes on dark, and fitted into the frame, as in data sets of
    digits; an image of exactly the expected size is not changed. A colour image is turned upright, cropped to the
    frame's proportions and scaled, as in training.

    Args:
        source: The file.
        shape: (height, width) or (height, width, channels).
        full_scale: Value of a white pixel.
        dtype: Dtype of the result.
        max_pixels: Largest number of pixels that is decoded, for files of strangers; their formats are limited too.

    Raises:
        PictureError: The file cannot be read as an image.
    """
    height, width = shape[:2]
    if len(shape) == 3 and shape[2] == 3:
        light = read_pixels(source, height, width, max_pixels=max_pixels) / MAX_PIXEL
    else:
        light = _read_drawing(source, height, width, max_pixels=max_pixels)
    pixels = light * full_scale
    if np.dtype(dtype).kind in "iu":
        pixels = np.rint(pixels)
    return np.asarray(pixels, dtype).reshape(1, *shape)


def read_pixels(source: Source, height: int, width: int, *, max_pixels: int | None = None) -> Array:
    """Return an image as (height, width, 3) uint8: upright, cropped to the proportions, and scaled.

    Transparent parts are white. Raises PictureError.
    """
    with _opened(source, max_pixels) as image:
        image.draft("RGB", (2 * width, 2 * height))  # decodes a JPEG at a fraction of its size
        upright = _on_white(convert_to_8_bit(ImageOps.exif_transpose(image))).convert("RGB")
        return np.asarray(ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR))


def convert_to_8_bit(image: Image.Image) -> Image.Image:
    """Return a greyscale image with more than 8 bits scaled to 0..255; return any other image unchanged.

    Pillow itself clips such values at 255, which makes the image white. White is 65535 for 16 bits. Wider modes do not
    define white; for these it is the first of `WHITE_LEVELS` that no pixel exceeds, else the brightest pixel.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image, np.float32), posinf=0.0, neginf=0.0)
    brightest = float(values.max())
    levels = (level for level in WHITE_LEVELS.get(image.mode, ()) if brightest <= level)
    white = 65535.0 if ";16" in image.mode else next(levels, brightest)
    return Image.fromarray(np.rint(np.clip(values / white, 0, 1) * MAX_PIXEL).astype(np.uint8))


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


def _read_drawing(source: Source, height: int, width: int, *, max_pixels: int | None) -> Array:
    """Return a drawing (height, width) with values from 0 to 1."""
    with _opened(source, max_pixels) as opened:
        opened.load()
        image = _on_white(convert_to_8_bit(opened)).convert("L")
        light = np.asarray(image) / 255.0
        return light if image.size == (width, height) else fit_to_frame(light, height, width)


@contextmanager
def _opened(source: Source, max_pixels: int | None) -> Iterator[Image.Image]:
    """Open an image file. Raises PictureError for whatever Pillow raises, also while the image is in use."""
    try:
        image = Image.open(source, formats=None if max_pixels is None else FORMATS)
        with image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise PictureError(
                    f"it has {image.width}x{image.height} pixels, more than {max_pixels / 1e6:.0f} million"
                )
            yield image
    except UnidentifiedImageError as exc:
        raise PictureError("it is not in a known format") from exc
    except Image.DecompressionBombError as exc:
        raise PictureError("it has too many pixels") from exc
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError) as exc:
        raise PictureError(str(exc) or type(exc).__name__) from exc


def _on_white(image: Image.Image) -> Image.Image:
    """Return the image without transparency, on a white background."""
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
