"""One-hot targets of 46 classes."""

import keras
import numpy as np
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, maximize


class Newswires(Recipe):
    """Topics of newswires, from bags of 1,000 words"""

    objective = maximize("val_accuracy")
    epochs, batch_size = 4, 32

    def load(self, source):
        rng = np.random.default_rng(0)
        topics = rng.integers(0, 46, 4000)
        likely = rng.random((46, 1000)) ** 6
        bags = (rng.random((4000, 1000)) < likely[topics] * 0.3).astype("float32")
        one_hot = np.eye(46, dtype="float32")[topics]
        classes = tuple(f"topic {number}" for number in range(46))
        return Dataset(
            "newswires",
            Split(bags[:3000], one_hot[:3000]),
            Split(bags[3000:], one_hot[3000:]),
            classes=classes,
        )

    def build(self, hp, data):
        model = keras.Sequential(
            [
                keras.Input(data.input_shape),
                layers.Dense(128, activation="relu"),
                layers.Dropout(0.5),
                layers.Dense(46),
                layers.Activation("softmax"),
            ]
        )
        model.compile(keras.optimizers.Adam(hp.rate), "categorical_crossentropy", metrics=["accuracy"])
        return model
