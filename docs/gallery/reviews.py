"""Texts as sequences of word numbers of any length."""

import keras
import numpy as np
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, encoders, hyperparameter, maximize

GOOD, BAD = ["warm", "bright", "lovely", "clever", "moving"], ["dull", "cold", "flat", "noisy", "empty"]
OTHER = ["the", "film", "was", "and", "with", "a", "plot", "of", "actors"]


class Reviews(Recipe):
    """Bidirectional LSTM on reviews"""

    objective = maximize("val_accuracy")
    epochs, learning_rate = 3, 5e-3
    units = hyperparameter(16, low=8, high=64, step=8, help="units of the LSTM in each direction")

    def load(self, source):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, 1200)
        texts = [
            " ".join(rng.permutation([*rng.choice(OTHER, rng.integers(3, 20)), *rng.choice(words, 3)]))
            for words in ([BAD, GOOD][label] for label in labels)
        ]
        texts = np.array(texts, dtype=object)
        return Dataset(
            "reviews",
            Split(texts[:900], labels[:900]),
            Split(texts[900:], labels[900:]),
            classes=("bad", "good"),
        )

    def encoder(self, data):
        return encoders.tokens(data.train.inputs, most=1000)

    def build(self, hp, data):
        model = keras.Sequential(
            [
                keras.Input((None,), dtype="int32"),
                layers.Embedding(1002, 32, mask_zero=True),
                layers.Bidirectional(layers.LSTM(hp.units)),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
        model.compile(keras.optimizers.Adam(hp.rate), "binary_crossentropy", metrics=["accuracy"])
        return model
