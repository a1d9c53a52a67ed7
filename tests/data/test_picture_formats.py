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
