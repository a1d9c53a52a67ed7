"""Picture files of any format and mode; of several frames, the first counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlctl.data.files.labelled_files import IMAGE_SUFFIXES
from mlctl.pictures import read_pixels

pytestmark = pytest.mark.unit

RED, BLUE = Image.new("RGB", (20, 20), (200, 0, 0)), Image.new("RGB", (20, 20), (0, 0, 200))


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_suffix_is_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture{suffix}"
    has_frames = suffix in (".gif", ".webp", ".tif", ".tiff")
    RED.save(path, **({"save_all": True, "append_images": [BLUE]} if has_frames else {}))
    assert np.abs(read_pixels(path, 8, 8)[4, 4].astype(int) - (200, 0, 0)).max() <= 3


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (RED.convert("CMYK"), (200, 0, 0)),
        (RED.quantize(), (200, 0, 0)),
        (Image.fromarray(np.full((20, 20), 40_000, np.uint16)), (156, 156, 156)),
        (Image.fromarray(np.full((20, 20), 0.5, np.float32)), (128, 128, 128)),
        (Image.new("1", (20, 20), 1), (255, 255, 255)),
    ],
)
def test_every_mode_is_read(image: Image.Image, pixel: tuple[int, ...], tmp_path: Path) -> None:
    image.save(tmp_path / "picture.tif")
    assert tuple(read_pixels(tmp_path / "picture.tif", 8, 8)[4, 4].tolist()) == pixel


def test_a_cmyk_jpeg_is_read_as_it_is_shown(tmp_path: Path) -> None:
    RED.convert("CMYK").save(tmp_path / "picture.jpg", quality=95)
    assert np.abs(read_pixels(tmp_path / "picture.jpg", 8, 8)[4, 4].astype(int) - (200, 0, 0)).max() <= 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_white(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))  # black, but nobody sees it
    image.paste((0, 0, 0, 255), (0, 0, 10, 20))
    image = image.quantize() if mode == "P" else image.convert(mode)
    image.save(tmp_path / "picture.png")
    pixels = read_pixels(tmp_path / "picture.png", 20, 20)
    assert (pixels[10, 2].max(), pixels[10, 17].min()) == (0, 255)


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "blue")
    image.paste("red", (0, 0, 20, 20))
    exif = image.getexif()
    exif[274] = 6  # turn it to the right
    image.save(tmp_path / "picture.jpg", exif=exif, quality=95)
    pixels = read_pixels(tmp_path / "picture.jpg", 40, 20)
    assert pixels[3, 10].argmax() == 0
    assert pixels[36, 10].argmax() == 2
