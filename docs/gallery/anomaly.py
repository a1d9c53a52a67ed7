"""An autoencoder: the target is the input, and the error is the score."""

import keras
import numpy as np
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, minimize


class Anomaly(Recipe):
    """Convolutional autoencoder of windows of a series"""

    objective = minimize("val_loss")
    epochs, batch_size = 4, 64

    def load(self, source):
        rng = np.random.default_rng(0)
        series = np.sin(np.arange(2000) / 20) + rng.normal(0, 0.1, 2000)
        windows = np.lib.stride_tricks.sliding_window_view(series, 288).astype("float32")[..., None]
        train, validation = windows[:1300], windows[1300:]
        return Dataset("sine", Split(train, train), Split(validation, validation))

    def build(self, hp, data):
        model = keras.Sequential(
            [
                keras.Input(data.input_shape),
                layers.Conv1D(16, 7, 2, "same", activation="relu"),
                layers.Dropout(0.2),
                layers.Conv1D(8, 7, 2, "same", activation="relu"),
                layers.Conv1DTranspose(8, 7, 2, "same", activation="relu"),
                layers.Dropout(0.2),
                layers.Conv1DTranspose(16, 7, 2, "same", activation="relu"),
                layers.Conv1DTranspose(1, 7, padding="same"),
            ]
        )
        model.compile(keras.optimizers.Adam(hp.rate), "mse")
        return model
