"""Folders of pictures for tests/benchmarks/pictures.py: real ones that packages bundle, and generated ones.

Every folder has a `train` and a `test` folder with a folder for each class.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Array = np.ndarray[Any, Any]
Labelled = Iterator[tuple[str, Image.Image]]
Maker = Callable[[np.random.Generator, int, bool], Labelled]

LETTERS = "abcdefghpqrstuvyz"
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "STIXGeneral",
    "cmr10",
)
FIGURES = ("circle", "square", "triangle", "pentagon", "star", "ring")
PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "chelsea.png",
    "coffee.png",
    "grass.png",
    "gravel.png",
    "rocket.jpg",
    "ihc.png",
)
TEST_PICTURES = 1000


def handwritten_digits(rng: np.random.Generator, count: int, is_test: bool) -> Labelled:
    """Digits of MNIST, 28x28, gray; the test pictures are of its test set."""
    with np.load(Path(os.environ.get("MLCTL_DATA_DIR", ".")) / "mnist.npz") as arrays:
        kind = "test" if is_test else "train"
        pixels, labels = arrays[f"x_{kind}"], arrays[f"y_{kind}"]
    for row in rng.permutation(len(labels))[:count]:
        yield str(labels[row]), Image.fromarray(pixels[row])


def printed_letters(rng: np.random.Generator, count: int, is_test: bool) -> Labelled:
    """Dark letters on light paper in seven fonts, turned by up to 15 degrees, with noise, 40x40."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for number in range(count):
        letter = LETTERS[number % len(LETTERS)]
        font = ImageFont.truetype(str(folder / f"{rng.choice(FONTS)}.ttf"), int(rng.integers(20, 32)))
        ground = tuple(int(value) for value in rng.integers(170, 256, 3))
        ink = tuple(int(value) for value in rng.integers(0, 110, 3))
        picture = Image.new("RGB", (40, 40), ground)
        place = (20 + int(rng.integers(-3, 4)), 20 + int(rng.integers(-3, 4)))
        ImageDraw.Draw(picture).text(place, letter, fill=ink, font=font, anchor="mm")
        picture = picture.rotate(float(rng.uniform(-15, 15)), Image.Resampling.BILINEAR, fillcolor=ground)
        yield letter, _with_noise(rng, picture, 15)


def figures(rng: np.random.Generator, count: int, is_test: bool) -> Labelled:
    """Six geometric figures of any size, place, colour and direction over lines and dots, 64x64."""
    for number in range(count):
        name = FIGURES[number % len(FIGURES)]
        ground, ink = _two_colours(rng)
        picture = Image.new("RGB", (64, 64), ground)
        draw = ImageDraw.Draw(picture)
        for _ in range(6):
            draw.line([int(value) for value in rng.integers(0, 64, 4)], fill=_colour(rng), width=1)
        radius = float(rng.uniform(9, 22))
        x, y = rng.uniform(radius, 64 - radius, 2)
        _draw_figure(draw, name, x, y, radius, float(rng.uniform(0, 2 * np.pi)), ink)
        yield name, _with_noise(rng, picture, 20)


def photographs(rng: np.random.Generator, count: int, is_test: bool) -> Labelled:
    """Patches of 48x48 pixels of eight photographs of scikit-image; test patches are of the lowest 30 % of each."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    pictures = {name: np.asarray(Image.open(folder / name)) for name in PHOTOGRAPHS}
    for number in range(count):
        name = PHOTOGRAPHS[number % len(PHOTOGRAPHS)]
        pixels = pictures[name]
        border = int(0.7 * len(pixels))
        part = pixels[border:] if is_test else pixels[:border]
        side = int(rng.integers(40, 80))
        top, left = rng.integers(0, part.shape[0] - side), rng.integers(0, part.shape[1] - side)
        patch = Image.fromarray(part[top : top + side, left : left + side]).convert("L")
        yield name.partition(".")[0], patch.resize((48, 48), Image.Resampling.BILINEAR)


def faces(rng: np.random.Generator, count: int, is_test: bool) -> Labelled:
    """Faces and no faces, 25x25, gray: 200 pictures in all, of which 100 are for the test."""
    from skimage import data

    pixels = data.lfw_subset()
    rows = np.arange(len(pixels))
    for row in rows[(rows % 2 == 1) == is_test]:
        picture = Image.fromarray(np.rint(pixels[row] * 255).astype(np.uint8))
        yield ("face" if row < len(pixels) // 2 else "other"), picture


FOLDERS: dict[str, Maker] = {
    "digits": handwritten_digits,
    "letters": printed_letters,
    "figures": figures,
    "photographs": photographs,
    "faces": faces,
}


def write_folder(
    name: str, count: int, folder: Path, *, seed: int = 0, test_pictures: int = TEST_PICTURES
) -> Path:
    """Write `count` training pictures and the test pictures as PNG files; return the folder."""
    for split, rows in (("train", count), ("test", test_pictures)):
        rng = np.random.default_rng([seed, split == "test"])
        for number, (label, picture) in enumerate(FOLDERS[name](rng, rows, split == "test")):
            class_folder = folder / split / label
            class_folder.mkdir(parents=True, exist_ok=True)
            picture.save(class_folder / f"{number}.png")
    return folder


def _draw_figure(
    draw: ImageDraw.ImageDraw, name: str, x: float, y: float, radius: float, turn: float, ink: tuple[int, ...]
) -> None:
    if name in ("circle", "ring"):
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, fill=ink if name == "circle" else None, outline=ink, width=max(2, int(radius / 4)))
        return
    corners = {"triangle": 3, "square": 4, "pentagon": 5, "star": 10}[name]
    points = []
    for corner in range(corners):
        angle = turn + 2 * np.pi * corner / corners
        length = radius * (0.45 if name == "star" and corner % 2 else 1)
        points.append((x + length * np.cos(angle), y + length * np.sin(angle)))
    draw.polygon(points, fill=ink)


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(value) for value in rng.integers(0, 256, 3))


def _two_colours(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return two colours that can be told apart."""
    while True:
        pair = _colour(rng), _colour(rng)
        if sum(abs(one - other) for one, other in zip(*pair, strict=True)) > 200:
            return pair


def _with_noise(rng: np.random.Generator, picture: Image.Image, strength: float) -> Image.Image:
    noisy = np.asarray(picture) + rng.normal(0, strength, (*picture.size[::-1], 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
