"""Measure the memory of training on a stream of pictures that is larger than memory.

    python tests/benchmarks/streams.py [--gigabytes 10] [--kind sequence pipeline]

The pictures are made while they are read: by a `keras.utils.PyDataset`, and by a `tf.data` pipeline of a generator.
Each is trained for one epoch in its own process; the bytes that were read and the peak memory of that process are
printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS, SIZE = 32, 224  # of a batch, of a picture
BATCH_BYTES = ROWS * SIZE * SIZE * 3

RECIPE = """
import keras
import numpy as np
import tensorflow as tf
from mlctl.recipes import Dataset, Recipe, Split, minimize

ROWS, SIZE, TRAIN, KIND = {rows}, {size}, {train}, "{kind}"


def batch(number):
    generator = np.random.default_rng(number)
    targets = generator.integers(0, 2, ROWS)
    pictures = np.frombuffer(generator.bytes(ROWS * SIZE * SIZE * 3), np.uint8).reshape(ROWS, SIZE, SIZE, 3)
    return pictures >> targets[:, None, None, None].astype("uint8"), targets


class Pictures(keras.utils.PyDataset):
    def __init__(self, first, count):
        super().__init__()
        self.first, self.count = first, count

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        return batch(self.first + number)


def pipeline(first, count):
    signature = (tf.TensorSpec((ROWS, SIZE, SIZE, 3), tf.uint8), tf.TensorSpec((ROWS,), tf.int64))
    made = tf.data.Dataset.from_generator(lambda: map(batch, range(first, first + count)), output_signature=signature)
    return made.apply(tf.data.experimental.assert_cardinality(count))


class Streamed(Recipe):
    objective = minimize("val_loss")
    epochs = 1

    def load(self, source):
        make = Pictures if KIND == "sequence" else pipeline
        return Dataset("streamed", Split(make(0, TRAIN)), Split(make(TRAIN, 8)), classes=("bright", "dark"))

    def build(self, hp, data):
        inputs = keras.Input((SIZE, SIZE, 3), dtype="uint8")
        x = keras.layers.Rescaling(1 / 255)(inputs[:, ::8, ::8])
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
        answers = keras.layers.Dense(2, "softmax")(keras.layers.GlobalAveragePooling2D()(x))
        model = keras.Model(inputs, answers)
        model.compile(keras.optimizers.Adam(hp.learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model
"""


def main() -> None:
    """Print bytes, peak memory and seconds, one line per kind of stream."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--kind", nargs="+", default=["sequence", "pipeline"])
    options = parser.parse_args()
    batches = max(1, round(options.gigabytes * 1e9 / BATCH_BYTES))
    for kind in options.kind:
        with tempfile.TemporaryDirectory() as folder:
            text = RECIPE.format(rows=ROWS, size=SIZE, train=batches, kind=kind)
            (Path(folder) / "streamed.py").write_text(text, encoding="utf-8")
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "mlctl", "train", "./streamed.py", "-o", "json"],
                cwd=folder,
                env={**os.environ, "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "XDG_STATE_HOME": folder},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(done.stderr)
            run = json.loads(done.stdout)
            print(
                f"{kind:>9}  {batches * BATCH_BYTES / 1e9:6.2f} GB  peak {run['tags']['mlctl.peak_memory_mb']:>5} MB"
                f"  {time.perf_counter() - started:6.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
