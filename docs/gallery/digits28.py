"""Pictures of handwritten digits for the recipes of this folder."""

from mlctl.data.builtin.mnist import load_mnist


def pictures(source, rows, test_rows):
    """Return pictures (n, 28, 28, 1) float32 in 0..1 and their digits, first to train, then to validate."""
    data = load_mnist(source)
    for split, count in ((data.train, rows), (data.test, test_rows)):
        yield split.inputs[:count, ..., None].astype("float32") / 255, split.targets[:count].astype("int64")
