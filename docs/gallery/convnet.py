"""Pictures of ten classes, and a small convolutional network."""

import keras
from digits28 import pictures
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, hyperparameter, maximize


class Convnet(Recipe):
    """Convolutional network on pictures of handwritten digits"""

    objective = maximize("val_accuracy")
    epochs, batch_size = 3, 64
    filters = hyperparameter(16, low=8, high=64, step=8, help="filters of the first convolution")

    def load(self, source):
        train, validation = pictures(source, 6000, 1000)
        return Dataset(
            "digits", Split(*train), Split(*validation), classes=tuple(str(digit) for digit in range(10))
        )

    def build(self, hp, data):
        model = keras.Sequential(
            [
                keras.Input(data.input_shape),
                layers.Conv2D(hp.filters, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(2 * hp.filters, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dropout(0.5),
                layers.Dense(10, activation="softmax"),
            ]
        )
        model.compile(keras.optimizers.Adam(hp.rate), "categorical_crossentropy", metrics=["accuracy"])
        return model
