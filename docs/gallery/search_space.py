"""Hyperparameters that count only in some models."""

import keras
from digits28 import pictures
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, choice, hyperparameter, maximize


class SearchSpace(Recipe):
    """Dense network with a searched number of layers"""

    objective = maximize("val_accuracy")
    epochs, batch_size = 2, 64
    layers_1 = hyperparameter(64, low=32, high=128, step=32, help="units of the first layer")
    depth = hyperparameter(1, low=1, high=3, help="number of hidden layers")
    layers_2 = hyperparameter(32, low=32, high=64, step=32, when="depth>=2", help="units of the second layer")
    layers_3 = hyperparameter(32, low=32, high=64, step=32, when="depth>=3", help="units of the third layer")
    activation = choice("relu", "tanh", help="activation of the hidden layers")
    dropout = choice(None, 0.25, help="dropout before the last layer")

    def load(self, source):
        train, validation = pictures(source, 3000, 1000)
        return Dataset("digits", Split(*train), Split(*validation), classes=tuple("0123456789"))

    def build(self, hp, data):
        model = keras.Sequential([layers.Flatten()])
        for number in range(1, hp.depth + 1):
            model.add(layers.Dense(hp[f"layers_{number}"], activation=hp.activation))
        if hp.dropout:
            model.add(layers.Dropout(hp.dropout))
        model.add(layers.Dense(10, activation="softmax"))
        model.compile(keras.optimizers.Adam(hp.rate), "categorical_crossentropy", metrics=["accuracy"])
        return model
