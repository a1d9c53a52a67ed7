"""MNIST: 70,000 handwritten digits of 28x28 pixels, as Keras publishes them."""

from __future__ import annotations

import numpy as np

from mlctl.data import splits
from mlctl.data.builtin import synthetic
from mlctl.data.dataset import Dataset, Split
from mlctl.data.sources import locate
from mlctl.data.sources.download import Download
from mlctl.data.sources.locate import Source
from mlctl.data.sources.npz import NpzReader

FILE = Download(
    "mnist.npz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)
CLASSES = tuple(str(digit) for digit in range(10))


def load_mnist(source: Source) -> Dataset:
    """Return MNIST: images (n, 28, 28) uint8.

    The 60,000 published training rows are split into 55,000 and 5,000; the published test rows are the test split.
    """
    if source.synthetic:
        arrays = _make_arrays(source.rows or 70_000)
        origin, sha256 = "synthetic", synthetic.sha256_of_arrays(*arrays)
        size_bytes = sum(array.nbytes for array in arrays)
    else:
        path = source.file(FILE)
        with NpzReader.open(path) as reader:
            arrays = []
            for name in ("train", "test"):
                images = reader.read_array(f"x_{name}", (None, 28, 28), kinds="u", high=255)
                arrays += [images, reader.read_array(f"y_{name}", (len(images),), low=0, high=9)]
        origin, sha256 = locate.origin(source, FILE, path), locate.sha256([path])
        size_bytes = path.stat().st_size
    images, labels, test_images, test_labels = arrays
    labels, test_labels = labels.astype(np.int64), test_labels.astype(np.int64)
    seed = int(getattr(source.options, "split_seed", splits.SPLIT_SEED))
    train, validation = splits.split_rows(len(labels), seed, (55 / 60, 5 / 60))
    return Dataset(
        "mnist",
        Split(images[train], labels[train]),
        Split(images[validation], labels[validation]),
        Split(test_images, test_labels),
        classes=CLASSES,
        source=origin,
        sha256=sha256,
        size_bytes=size_bytes,
        split_seed=seed,
    )


def _make_arrays(rows: int) -> list[synthetic.Array]:
    images, labels = synthetic.make_mnist(rows)
    train = round(rows * 6 / 7)
    return [images[:train], labels[:train], images[train:], labels[train:]]
