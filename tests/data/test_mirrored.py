"""Images are mirrored in training only if mirrored images look like their class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.data.files.mirrored import look_alike_mirrored

pytestmark = pytest.mark.unit

COUNT = 400
PHOTOGRAPHS = [Path(f"{number}.jpg") for number in range(COUNT)]
DRAWINGS = [Path(f"{number}.png") for number in range(COUNT)]


def images_of(*, has_direction: bool, noise: float = 40.0) -> tuple[Any, Any]:
    """Return pictures of two classes: a light bar at the left or right, or at the top or bottom."""
    rng = np.random.default_rng(0)
    labels = np.arange(COUNT) % 2
    pixels = rng.normal(90, noise, (COUNT, 20, 20, 3)) + np.array([60, 0, -60])
    for image, label in zip(pixels, labels, strict=True):
        place = slice(12, 18) if label else slice(2, 8)
        image[(slice(None), place) if has_direction else place] += 70
    return np.clip(pixels, 0, 255).astype(np.uint8), labels


@pytest.mark.parametrize("files", [PHOTOGRAPHS, DRAWINGS, []])
def test_classes_that_differ_in_left_and_right_are_not_mirrored(files: list[Path]) -> None:
    pixels, labels = images_of(has_direction=True)
    assert not look_alike_mirrored(pixels, labels, files)
    pixels, labels = images_of(has_direction=False)
    assert look_alike_mirrored(pixels, labels, files)


def test_only_colour_photographs_are_mirrored_without_evidence() -> None:
    pixels, labels = images_of(has_direction=False)
    labels = np.random.default_rng(1).permutation(labels)  # nothing can be learned from them
    assert look_alike_mirrored(pixels, labels, PHOTOGRAPHS)
    assert not look_alike_mirrored(pixels, labels, DRAWINGS)
    grey = np.repeat(pixels[..., :1], 3, axis=-1)
    assert not look_alike_mirrored(grey, labels, PHOTOGRAPHS)


def test_few_drawings_are_not_mirrored() -> None:
    pixels, labels = images_of(has_direction=False)
    assert not look_alike_mirrored(pixels[:100], labels[:100], DRAWINGS[:100])
    assert look_alike_mirrored(pixels[:100], labels[:100], PHOTOGRAPHS[:100])
