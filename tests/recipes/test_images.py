"""The images recipe: the size of images, their augmentation, and the network."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.data.dataset import Dataset, Split
from mlctl.data.sources.locate import Source
from mlctl.recipes import find
from mlctl.recipes.images import MOMENTUM, augmentation, choose_momentum, size_of_backbone
from tests.data.test_mirrored import images_of


def build(shape: tuple[int, int, int], **overrides: Any) -> Any:
    recipe = find("images")
    empty = Split(np.zeros((1, *shape)), np.zeros(1))
    data = Dataset("t", empty, empty, classes=("a", "b", "c"), input_shape=shape)
    return recipe.build(recipe.values(overrides), data)


def test_the_network_fits_the_size_of_the_images() -> None:
    def convolutions(model: Any) -> list[tuple[int, ...]]:
        return [layer.output.shape[1:] for layer in model.layers if "conv" in layer.name]

    assert convolutions(build((8, 8, 3), filters="8")) == [(8, 8, 8), (4, 4, 16), (2, 2, 32)]
    assert convolutions(build((28, 28, 3), filters="8"))[-1] == (7, 7, 32)
    large = convolutions(build((128, 96, 3), filters="8"))
    assert (large[0], large[-1]) == ((64, 48, 8), (8, 6, 32))


def test_normalization_forgets_its_initial_statistics_in_few_steps() -> None:
    assert choose_momentum(1) < 0.01
    assert choose_momentum(10) ** 5 == pytest.approx(0.02)
    assert choose_momentum(75) == choose_momentum(10_000) == MOMENTUM
    layers = build((8, 8, 3), filters="8", epochs="2").layers
    assert {layer.momentum for layer in layers if "normalization" in layer.name} == {choose_momentum(2)}


def test_images_are_not_mirrored_unless_that_is_set() -> None:
    def names(kind: Any, has_backbone: bool = False) -> list[str]:
        return [type(layer).__name__ for layer in augmentation(kind, has_backbone=has_backbone)]

    assert names("auto") == names("shift") == ["RandomTranslation"]
    assert names("auto", has_backbone=True) == names(False) == []
    assert names("flip") == ["RandomFlip", "RandomTranslation"]
    assert names(True) == ["RandomFlip", "RandomTranslation", "RandomZoom"]
    values = [find("images").values({"augment": text}).augment for text in ("true", "False", "flip")]
    assert values == [True, False, "flip"]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("has_direction", "given", "augment"),
    [(False, {}, "flip"), (False, {"augment": "auto"}, "flip"), (True, {}, "shift")]
    + [(False, {"augment": text}, value) for text, value in (("shift", "shift"), ("false", False))],
)
def test_images_are_mirrored_by_default_if_they_look_the_same(
    has_direction: bool, given: dict[str, str], augment: Any, tmp_path: Path
) -> None:
    pixels, labels = images_of(has_direction=has_direction)
    np.savez(tmp_path / "t.npz", X=pixels, y=labels)
    recipe = find("images")
    values = recipe.values(given)
    data = recipe.load(Source(location=str(tmp_path / "t.npz"), options=values))
    assert values.on(len(data.train), data.defaults).augment == augment
    is_said = any(note.startswith("training images are shifted and mirrored") for note in data.notes)
    assert is_said == (augment == "flip")


@pytest.mark.unit
def test_the_size_that_a_backbone_takes(tmp_path: Path) -> None:
    def write(shape: list[int | None]) -> str:
        layer = {"class_name": "InputLayer", "config": {"batch_shape": shape}}
        with zipfile.ZipFile(tmp_path / "trunk.keras", "w") as parts:
            parts.writestr("config.json", json.dumps({"config": {"layers": [layer]}}))
        return str(tmp_path / "trunk.keras")

    assert size_of_backbone(write([None, 48, 32, 3])) == (48, 32)
    assert size_of_backbone(write([None, None, None, 3])) is None
    assert size_of_backbone("MobileNetV2") == (224, 224)
    (tmp_path / "other.keras").write_bytes(b"no model")
    assert size_of_backbone(str(tmp_path / "other.keras")) is None
