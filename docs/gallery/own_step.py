"""A model with a train_step of its own."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, minimize


@keras.saving.register_keras_serializable("gallery")
class OwnStep(keras.Model):
    """A model that computes its loss and its metrics itself."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.mae_metric = keras.metrics.MeanAbsoluteError(name="mae")

    @property
    def metrics(self):
        return [self.loss_tracker, self.mae_metric]

    def _update(self, y, answers, loss):
        self.loss_tracker.update_state(loss)
        self.mae_metric.update_state(y, answers)
        return {metric.name: metric.result() for metric in self.metrics}

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            answers = self(x, training=True)
            loss = keras.ops.mean(keras.losses.mean_squared_error(y, answers))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self._update(y, answers, loss)

    def test_step(self, data):
        x, y = data
        answers = self(x, training=False)
        return self._update(y, answers, keras.ops.mean(keras.losses.mean_squared_error(y, answers)))


class SumOfNumbers(Recipe):
    """The sum of 32 numbers, learned by an own train_step"""

    objective = minimize("val_mae")
    epochs, learning_rate = 6, 1e-2

    def load(self, source):
        rows = np.random.default_rng(0).random((1000, 32)).astype("float32")
        total = rows.sum(axis=1, keepdims=True)
        return Dataset("sums", Split(rows[:800], total[:800]), Split(rows[800:], total[800:]))

    def build(self, hp, data):
        inputs = keras.Input(data.input_shape)
        model = OwnStep(inputs, layers.Dense(1)(inputs))
        model.compile(keras.optimizers.Adam(hp.rate))
        return model
