"""California housing, 1990: one row a district, with gaps and a column of words."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlctl.data import splits
from mlctl.data.builtin import fixed_csv, synthetic
from mlctl.data.builtin.fixed_csv import Column
from mlctl.data.dataset import Dataset, Split, take
from mlctl.data.sources import locate
from mlctl.data.sources.download import Download
from mlctl.data.sources.locate import Source

FILE = Download(
    "housing.csv",
    "https://raw.githubusercontent.com/ageron/handson-ml2/master/datasets/housing/housing.csv",
    "8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e",
)
TARGET = "median_house_value"
COLUMNS = {
    "longitude": Column(),
    "latitude": Column(),
    "housing_median_age": Column(),
    "total_rooms": Column(),
    "total_bedrooms": Column(gaps=True),
    "population": Column(),
    "households": Column(),
    "median_income": Column(),
    TARGET: Column(),
    "ocean_proximity": Column(number=False),
}
# never 42: the file's 207 gaps are the first 207 of RandomState(42)'s permutation, all into one split
SPLIT_SEED = 7


def housing(source: Source) -> Dataset:
    """Return the districts as DataFrames without the target; targets in US dollars; 64 / 16 / 20 %."""
    if source.synthetic:
        frame = synthetic.housing(source.rows or 20_640)
        digest, size = synthetic.digest_frame(frame), int(frame.memory_usage(deep=True).sum())
        said = "synthetic"
    else:
        path = source.file(FILE)
        frame = fixed_csv.read(path, COLUMNS)
        digest, size, said = locate.sha256([path]), path.stat().st_size, locate.origin(source, FILE, path)
    seed = int(getattr(source.options, "split_seed", SPLIT_SEED))
    targets: np.ndarray[Any, Any] = frame[TARGET].to_numpy(np.float64)
    inputs = frame.drop(columns=TARGET)
    train, validation, test = (
        Split(take(inputs, rows), targets[rows])
        for rows in splits.split_rows(len(frame), seed, (0.64, 0.16, 0.20))
    )
    return Dataset(
        "housing",
        train,
        validation,
        test,
        unit="USD",
        source=said,
        sha256=digest,
        size_bytes=size,
        split_seed=seed,
    )
