"""Any number of labels for each row."""

import keras
import numpy as np
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, maximize, outputs


class MultiLabel(Recipe):
    """Network that gives each of six labels a probability"""

    objective = maximize("val_macro_f1")
    epochs, learning_rate = 8, 1e-2

    def load(self, source):
        rng = np.random.default_rng(0)
        labels = (rng.random((900, 6)) < 0.3).astype("float32")
        rows = labels @ rng.normal(size=(6, 40)) + rng.normal(0, 0.5, (900, 40))
        rows = rows.astype("float32")
        names = ("red", "round", "large", "heavy", "new", "cheap")
        return Dataset(
            "labels",
            Split(rows[:700], labels[:700]),
            Split(rows[700:], labels[700:]),
            outputs=outputs.labels(*names),
        )

    def build(self, hp, data):
        model = keras.Sequential(
            [
                keras.Input(data.input_shape),
                layers.Dense(64, activation="relu"),
                layers.Dense(64, activation="relu"),
                layers.Dense(6, activation="sigmoid"),
            ]
        )
        model.compile(keras.optimizers.Adam(hp.rate), "binary_crossentropy", metrics=["binary_accuracy"])
        return model
