"""Write small pictures of circles, squares and stripes, in a folder for each class."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image


def draw(kind, size, rng):
    pixels = rng.integers(0, 80, (size, size, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:size, :size]
    middle_y, middle_x = rng.integers(size // 4, 3 * size // 4, 2)
    radius = int(rng.integers(size // 8, size // 4))
    if kind == "circle":
        mask = (rows - middle_y) ** 2 + (columns - middle_x) ** 2 < radius**2
    elif kind == "square":
        mask = (abs(rows - middle_y) < radius) & (abs(columns - middle_x) < radius)
    else:
        mask = (rows + columns) // max(radius // 2, 2) % 2 == 0
    pixels[mask] += rng.integers(60, 150, 3).astype(np.uint8)
    return pixels


def main(folder="pictures", count=500, size=64):
    rng = np.random.default_rng(0)
    kinds = ("circle", "square", "stripes")
    for n in range(count):
        kind = kinds[n % len(kinds)]
        target = Path(folder, kind)
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(kind, size, rng)).save(target / f"{n}.png")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
