"""Stand-ins for real data: the same shapes and types, any number of rows, the same for the same seed.

They have a structure that a model can learn, so that a pipeline which learns nothing is seen to.
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
FEWEST_ROWS = 100  # fewer leave a split or a class empty
Array = np.ndarray[Any, Any]


def digits(rows: int) -> tuple[Array, Array]:
    """Return pictures (rows, 8, 8) float64 of 0..16, and their classes 0..9."""
    pictures, labels = _pictures(rows, side=8, coarse=4)
    return np.rint(pictures * 16).astype(np.float64), labels  # as the bundled ones are


def mnist(rows: int) -> tuple[Array, Array]:
    """Return pictures (rows, 28, 28) uint8 of 0..255, and their classes 0..9."""
    pictures, labels = _pictures(rows, side=28, coarse=7)
    return (pictures * 255).astype(np.uint8), labels


def _pictures(rows: int, side: int, coarse: int) -> tuple[Array, Array]:
    """Draw each class's own coarse pattern, moved by up to a pixel, fainter or stronger, under noise."""
    rng = _generator(rows)
    patterns = rng.random((10, coarse, coarse)).repeat(side // coarse, 1).repeat(side // coarse, 2) > 0.6
    labels = rng.permutation(np.arange(rows) % 10)
    pictures = patterns[labels].astype(np.float32) * rng.uniform(0.5, 1.0, (rows, 1, 1)).astype(np.float32)
    for moves in product((-1, 0, 1), repeat=2):
        chosen = rng.random(rows) < 0.08
        pictures[chosen] = np.roll(pictures[chosen], moves, (1, 2))
    pictures += 0.15 * rng.standard_normal(pictures.shape, np.float32)
    return pictures.clip(0, 1), labels.astype(np.int64)


def words(vocabulary: int) -> list[str]:
    """Return as many different made-up words, the most frequent first."""
    syllables = [a + b for a, b in product("bdfgklmnprstv", "aeiou")]
    found: list[str] = []
    length = 1
    while len(found) < vocabulary:
        found += ["".join(parts) for parts in product(syllables, repeat=length)][: vocabulary - len(found)]
        length += 1
    return found


def reviews(rows: int, vocabulary: int) -> tuple[SparseBags, Array]:
    """Return reviews over `words(vocabulary)`, and whether each is positive.

    Words come as often as their rank has it (Zipf); one in five of the words says which way the review
    leans, and a review draws those of its own side more often.
    """
    rng = _generator(rows)
    labels = rng.permutation(np.arange(rows) % 2).astype(np.int64)
    lengths = np.clip(rng.lognormal(4.6, 0.5, rows), 10, 1000).astype(np.int64)
    owner = np.repeat(labels, lengths)
    columns = np.floor(vocabulary ** rng.random(len(owner))).astype(np.int64) - 1
    leaning = (columns % 10 == 3) | (columns % 10 == 8)  # 3: negative, 8: positive
    turned = leaning & (rng.random(len(owner)) < 0.35)
    columns[turned] = columns[turned] // 10 * 10 + np.where(owner[turned] == 1, 8, 3)
    columns = columns.clip(0, vocabulary - 1)
    return SparseBags.from_flat(columns, lengths, vocabulary), labels


def housing(rows: int) -> pd.DataFrame:
    """Return districts with the real table's columns, one gap in a hundred in total_bedrooms."""
    import pandas as pd

    rng = _generator(rows)
    latitude = rng.uniform(32.5, 42.0, rows).round(2)
    coast = -114.5 - (latitude - 32.5) * 0.85  # the coast runs north-west
    inland = rng.exponential(1.2, rows)  # degrees east of it
    households = np.ceil(rng.lognormal(6.0, 0.7, rows))
    rooms = np.ceil(households * rng.normal(5.4, 0.9, rows).clip(2, 12))
    bedrooms = np.ceil(rooms * rng.normal(0.21, 0.03, rows).clip(0.1, 0.5))
    income = rng.lognormal(1.25, 0.45, rows).clip(0.5, 15).round(4)
    age = rng.integers(1, 53, rows).astype(np.float64)
    place = np.select(
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
            "ocean_proximity": pd.Series(place, dtype="str"),
        }
    )


def digest(*arrays: Array) -> str:
    """Return a SHA-256 over all content of these arrays, their types and their shapes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def digest_frame(frame: pd.DataFrame) -> str:
    """Return a SHA-256 over all content of a table."""
    return hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()


def _generator(rows: int) -> np.random.Generator:
    if rows < FEWEST_ROWS:
        raise UsageError(f"--rows {rows} is too few", f"allowed are at least {FEWEST_ROWS}")
    return np.random.default_rng(SEED)
