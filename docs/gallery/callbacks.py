"""Keras callbacks, and one of one's own."""

import keras
import numpy as np
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, minimize


class StopAtLoss(keras.callbacks.Callback):
    """Stops the training when the loss is low enough, and counts batches."""

    def __init__(self, loss):
        super().__init__()
        self.loss, self.batches = loss, 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1

    def on_epoch_end(self, epoch, logs=None):
        if logs["loss"] < self.loss:
            self.model.stop_training = True


class Callbacks(Recipe):
    """A linear target, and callbacks that steer the training"""

    objective = minimize("val_loss")
    epochs, learning_rate = 12, 3e-2

    def load(self, source):
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(600, 8)).astype("float32")
        values = rows @ np.arange(8) + rng.normal(0, 0.1, 600)
        return Dataset(
            "linear", Split(rows[:400], values[:400]), Split(rows[400:], values[400:]), unit="points"
        )

    def callbacks(self, hp, data):
        return [
            keras.callbacks.ReduceLROnPlateau(patience=2, factor=0.3),
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate if epoch < 6 else rate * 0.9),
            keras.callbacks.TerminateOnNaN(),
            StopAtLoss(0.05),
        ]

    def build(self, hp, data):
        model = keras.Sequential(
            [keras.Input(data.input_shape), layers.Dense(16, activation="relu"), layers.Dense(1)]
        )
        model.compile(keras.optimizers.Adam(hp.rate), "mse", metrics=["mae"])
        return model
