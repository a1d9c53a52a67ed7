"""Windows of a long series, cut as needed by a `tf.data` pipeline."""

import keras
import numpy as np
from keras import layers

from mlctl.recipes import Dataset, Recipe, minimize


class Weather(Recipe):
    """LSTM that forecasts a value 72 steps ahead"""

    objective = minimize("val_loss")
    epochs, batch_size = 4, 64

    def load(self, source):
        rng = np.random.default_rng(0)
        time = np.arange(3000)[:, None]
        series = np.sin(time / rng.uniform(10, 60, 7) + rng.uniform(0, 6, 7)) + rng.normal(0, 0.1, (3000, 7))
        series = series.astype("float32")

        def windows(first, last):
            return keras.utils.timeseries_dataset_from_array(
                series[first : last - 132], series[first + 132 : last, 1], sequence_length=60, batch_size=64
            )

        return Dataset("weather", windows(0, 2300), windows(2300, 3000))

    def build(self, hp, data):
        inputs = keras.Input((60, 7))
        model = keras.Model(inputs, layers.Dense(1)(layers.LSTM(16)(inputs)))
        model.compile(keras.optimizers.Adam(hp.rate), "mse")
        return model
