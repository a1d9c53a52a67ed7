"""Two classes, one of them rare: class weights."""

import keras
import numpy as np
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, maximize


class Fraud(Recipe):
    """Network on 30 numbers; one row in a hundred is positive"""

    objective = maximize("val_recall")
    epochs, batch_size, learning_rate = 8, 256, 1e-2

    def load(self, source):
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(6000, 30)).astype("float32")
        rows[:, 5] *= 1000
        labels = rows[:, :1] + rows[:, 3:4] * rows[:, 7:8] + rng.normal(size=(6000, 1)) > 3.2
        labels = labels.astype("uint8")  # a column, as many readers of tables give it
        mean, deviation = rows[:4500].mean(axis=0), rows[:4500].std(axis=0)
        rows = (rows - mean) / deviation
        share = labels[:4500].mean()
        return Dataset(
            "payments",
            Split(rows[:4500], labels[:4500]),
            Split(rows[4500:], labels[4500:]),
            classes=("honest", "fraud"),
            class_weight={0: 1.0, 1: float((1 - share) / share)},
        )

    def build(self, hp, data):
        model = keras.Sequential(
            [
                keras.Input(data.input_shape),
                layers.Dense(64, activation="relu"),
                layers.Dropout(0.3),
                layers.Dense(64, activation="relu"),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
        metrics = [keras.metrics.Precision(name="precision"), keras.metrics.Recall(name="recall")]
        model.compile(keras.optimizers.Adam(hp.rate), "binary_crossentropy", metrics=metrics)
        return model
