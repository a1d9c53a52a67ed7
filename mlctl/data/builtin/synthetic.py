"""Generated data in place of the real data: the same shapes and types, with any number of rows.

The same number of rows gives the same data. A model can learn from it, so that a pipeline that learns nothing is
noticed.
"""

from __future__ import annotations

import hashlib
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.sparse_bags import SparseBags
from mlctl.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

SEED = 20_240
MIN_ROWS = 100  # fewer rows can leave a split or a class empty
Array = np.ndarray[Any, Any]


def make_digits(rows: int) -> tuple[Array, Array]:
    """Return images (rows, 8, 8) float64 of 0..16, and their classes 0..9."""
    images, labels = _make_images(rows, side=8, coarse_side=4)
    return np.rint(images * 16).astype(np.float64), labels  # whole numbers, as in the bundled data


def make_mnist(rows: int) -> tuple[Array, Array]:
    """Return images (rows, 28, 28) uint8 of 0..255, and their classes 0..9."""
    images, labels = _make_images(rows, side=28, coarse_side=7)
    return (images * 255).astype(np.uint8), labels


def _make_images(rows: int, *, side: int, coarse_side: int) -> tuple[Array, Array]:
    """Draw a coarse pattern for each class, and shift, dim and blur each copy of it with noise."""
    rng = _generator(rows)
    scale = side // coarse_side
    patterns = rng.random((10, coarse_side, coarse_side)).repeat(scale, 1).repeat(scale, 2) > 0.6
    labels = rng.permutation(np.arange(rows) % 10)
    images = patterns[labels].astype(np.float32) * rng.uniform(0.5, 1.0, (rows, 1, 1)).astype(np.float32)
    for shift in product((-1, 0, 1), repeat=2):
        is_shifted = rng.random(rows) < 0.08
        images[is_shifted] = np.roll(images[is_shifted], shift, (1, 2))
    images += 0.15 * rng.standard_normal(images.shape, np.float32)
    return images.clip(0, 1), labels.astype(np.int64)


def make_words(size: int) -> list[str]:
    """Return this number of different words, the most frequent first."""
    syllables = [a + b for a, b in product("bdfgklmnprstv", "aeiou")]
    words: list[str] = []
    length = 1
    while len(words) < size:
        words += ["".join(parts) for parts in product(syllables, repeat=length)][: size - len(words)]
        length += 1
    return words


def make_reviews(rows: int, vocabulary_size: int) -> tuple[SparseBags, Array]:
    """Return reviews over `make_words(vocabulary_size)`, and whether each is positive (1) or negative (0).

    The frequency of words follows Zipf's law. One word in five is positive or negative, and a review has more of the
    words of its own class.
    """
    rng = _generator(rows)
    labels = rng.permutation(np.arange(rows) % 2).astype(np.int64)
    lengths = np.clip(rng.lognormal(4.6, 0.5, rows), 10, 1000).astype(np.int64)
    label_of = np.repeat(labels, lengths)
    columns = np.floor(vocabulary_size ** rng.random(len(label_of))).astype(np.int64) - 1
    has_sentiment = (columns % 10 == 3) | (columns % 10 == 8)  # 3: negative, 8: positive
    is_own = has_sentiment & (rng.random(len(label_of)) < 0.35)
    columns[is_own] = columns[is_own] // 10 * 10 + np.where(label_of[is_own] == 1, 8, 3)
    columns = columns.clip(0, vocabulary_size - 1)
    return SparseBags.from_flat(columns, lengths, vocabulary_size), labels


def make_housing(rows: int) -> pd.DataFrame:
    """Return districts with the columns of the real table; 1 % of total_bedrooms is missing."""
    import pandas as pd

    rng = _generator(rows)
    latitude = rng.uniform(32.5, 42.0, rows).round(2)
    coast = -114.5 - (latitude - 32.5) * 0.85  # the coast runs north-west
    inland = rng.exponential(1.2, rows)  # degrees east of the coast
    households = np.ceil(rng.lognormal(6.0, 0.7, rows))
    rooms = np.ceil(households * rng.normal(5.4, 0.9, rows).clip(2, 12))
    bedrooms = np.ceil(rooms * rng.normal(0.21, 0.03, rows).clip(0.1, 0.5))
    income = rng.lognormal(1.25, 0.45, rows).clip(0.5, 15).round(4)
    age = rng.integers(1, 53, rows).astype(np.float64)
    proximity = np.select(
        [inland < 0.15, inland < 0.4, inland < 1.0], ["NEAR OCEAN", "NEAR BAY", "<1H OCEAN"], "INLAND"
    )
    value = 45_000 * income + 110_000 * np.exp(-inland) + 600 * age + rng.normal(0, 15_000, rows)
    bedrooms[rng.random(rows) < 0.01] = np.nan
    return pd.DataFrame(
        {
            "longitude": (coast + inland).round(2),
            "latitude": latitude,
            "housing_median_age": age,
            "total_rooms": rooms,
            "total_bedrooms": bedrooms,
            "population": np.ceil(households * rng.normal(2.9, 0.5, rows).clip(1, 8)),
            "households": households,
            "median_income": income,
            "median_house_value": value.clip(15_000, 500_001).round(-2),
            "ocean_proximity": pd.Series(proximity, dtype="str"),
        }
    )


def sha256_of_arrays(*arrays: Array) -> str:
    """Return a SHA-256 of the content, types and shapes of these arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def sha256_of_table(frame: pd.DataFrame) -> str:
    """Return a SHA-256 of the content of a table."""
    return hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()


def _generator(rows: int) -> np.random.Generator:
    if rows < MIN_ROWS:
        raise UsageError(f"--rows {rows} is too small", f"use at least {MIN_ROWS}")
    return np.random.default_rng(SEED)
