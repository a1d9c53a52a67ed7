"""The handwritten digits that are bundled with scikit-learn."""

from __future__ import annotations

import numpy as np

from mlctl.data import splits
from mlctl.data.builtin import synthetic
from mlctl.data.dataset import Dataset, Split
from mlctl.data.sources.locate import Source

CLASSES = tuple(str(digit) for digit in range(10))


def load_digits(source: Source) -> Dataset:
    """Return the digits: images (n, 8, 8) float64 of 0..16; about 1150 / 287 / 360 rows."""
    if source.synthetic:
        images, labels = synthetic.make_digits(source.rows or 1797)
    else:
        from sklearn import datasets

        bundled = datasets.load_digits()
        images, labels = bundled.images, bundled.target.astype(np.int64)
    seed = int(getattr(source.options, "split_seed", splits.SPLIT_SEED))
    train, validation, test = (
        Split(images[rows], labels[rows]) for rows in splits.split_rows_by_class(labels, seed)
    )
    return Dataset(
        "digits",
        train,
        validation,
        test,
        classes=CLASSES,
        source="synthetic" if source.synthetic else "bundled",
        sha256=synthetic.sha256_of_arrays(images, labels),
        size_bytes=images.nbytes + labels.nbytes,
        split_seed=seed,
    )
