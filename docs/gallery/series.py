"""Time series of two classes; callbacks lower the learning rate."""

import keras
import numpy as np
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, minimize


class Series(Recipe):
    """One-dimensional convolutions on series of 176 steps"""

    objective = minimize("val_loss")
    epochs = 8

    def load(self, source):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, 1500)
        time = np.arange(176) / 176
        frequencies, phases = rng.uniform(2, 6, (2, 1500, 1)), rng.uniform(0, 6, (2, 1500, 1))
        series = np.sin(6.28 * frequencies[0] * time + phases[0]) + np.sin(
            6.28 * frequencies[1] * time + phases[1]
        )
        series += rng.normal(0, 0.1, series.shape)
        for row in np.flatnonzero(labels):
            start = rng.integers(0, 160)
            series[row, start : start + 12] += rng.choice([-1.5, 1.5])
        series = series[..., None]
        return Dataset(
            "bursts",
            Split(series[:1200], labels[:1200]),
            Split(series[1200:], labels[1200:]),
            classes=("calm", "burst"),
        )

    def callbacks(self, hp, data):
        return [
            keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_lr=1e-4),
            keras.callbacks.EarlyStopping("val_loss", patience=20),
        ]

    def build(self, hp, data):
        inputs = x = keras.Input(data.input_shape)
        for _ in range(2):
            x = layers.Conv1D(16, 5, padding="same")(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        outputs = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(x))
        model = keras.Model(inputs, outputs)
        model.compile(
            keras.optimizers.Adam(hp.rate),
            "sparse_categorical_crossentropy",
            metrics=["sparse_categorical_accuracy"],
        )
        return model
