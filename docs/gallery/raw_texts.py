"""Texts that the model itself turns into word numbers."""

import keras
import numpy as np
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, maximize

WORDS = (["dull", "cold", "flat", "noisy", "empty"], ["warm", "bright", "lovely", "clever", "moving"])
OTHER = ["the", "film", "was", "and", "with", "a", "plot"]


class RawTexts(Recipe):
    """TextVectorization inside the model"""

    objective = maximize("val_accuracy")
    epochs, learning_rate = 4, 1e-2

    def load(self, source):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, 800)
        texts = [
            " ".join(rng.permutation([*rng.choice(OTHER, 5), *rng.choice(WORDS[label], 3)]))
            for label in labels
        ]
        texts = np.array(texts, dtype=object)
        return Dataset(
            "texts",
            Split(texts[:600], labels[:600]),
            Split(texts[600:], labels[600:]),
            classes=("bad", "good"),
        )

    def build(self, hp, data):
        vectorize = layers.TextVectorization(max_tokens=500, output_sequence_length=12)
        vectorize.adapt(list(data.train.inputs))
        inputs = keras.Input((), dtype="string")
        x = layers.Embedding(500, 16)(vectorize(inputs))
        x = layers.Conv1D(16, 3, padding="same", activation="relu")(x)
        x = layers.GlobalMaxPooling1D()(x)
        model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
        model.compile(keras.optimizers.Adam(hp.rate), "binary_crossentropy", metrics=["accuracy"])
        return model
