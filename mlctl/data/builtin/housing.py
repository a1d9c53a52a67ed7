"""California housing, 1990: one row per district, with missing values and one column of words."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlctl.data import splits
from mlctl.data.builtin import synthetic
from mlctl.data.builtin.fixed_table import FixedColumn, read_fixed_table
from mlctl.data.dataset import Dataset, Split
from mlctl.data.sources import locate
from mlctl.data.sources.download import Download
from mlctl.data.sources.locate import Source
from mlctl.data.trees import take_rows

FILE = Download(
    "housing.csv",
    "https://raw.githubusercontent.com/ageron/handson-ml2/master/datasets/housing/housing.csv",
    "8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e",
)
TARGET = "median_house_value"
COLUMNS = {
    "longitude": FixedColumn(),
    "latitude": FixedColumn(),
    "housing_median_age": FixedColumn(),
    "total_rooms": FixedColumn(),
    "total_bedrooms": FixedColumn(optional=True),
    "population": FixedColumn(),
    "households": FixedColumn(),
    "median_income": FixedColumn(),
    TARGET: FixedColumn(),
    "ocean_proximity": FixedColumn(number=False),
}
# not 42: the 207 missing values are in the first 207 rows of RandomState(42)'s permutation, so all in one split
SPLIT_SEED = 7


def load_housing(source: Source) -> Dataset:
    """Return the districts as DataFrames, and their targets in US dollars."""
    if source.synthetic:
        frame = synthetic.make_housing(source.rows or 20_640)
        origin, sha256 = "synthetic", synthetic.sha256_of_table(frame)
        size_bytes = int(frame.memory_usage(deep=True).sum())
    else:
        path = source.file(FILE)
        frame = read_fixed_table(path, COLUMNS)
        origin, sha256 = locate.origin(source, FILE, path), locate.sha256([path])
        size_bytes = path.stat().st_size
    seed = int(getattr(source.options, "split_seed", SPLIT_SEED))
    targets: np.ndarray[Any, Any] = frame[TARGET].to_numpy(np.float64)
    inputs = frame.drop(columns=TARGET)
    train, validation, test = (
        Split(take_rows(inputs, rows), targets[rows]) for rows in splits.split_rows(len(frame), seed)
    )
    return Dataset(
        "housing",
        train,
        validation,
        test,
        unit="USD",
        source=origin,
        sha256=sha256,
        size_bytes=size_bytes,
        split_seed=seed,
    )
