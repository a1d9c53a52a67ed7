"""A class for each pixel of a picture."""

import keras
import numpy as np
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, maximize, outputs


class Segmentation(Recipe):
    """A small U-Net that finds a disc and its border"""

    objective = maximize("val_iou")
    epochs, batch_size, learning_rate = 6, 16, 5e-3

    def load(self, source):
        rng = np.random.default_rng(0)
        y, x = np.mgrid[:32, :32]
        centres, radii = rng.integers(8, 24, (300, 2, 1, 1)), rng.integers(4, 9, (300, 1, 1))
        distance = np.hypot(y - centres[:, 0], x - centres[:, 1])
        masks = np.where(distance < radii - 1, 1, np.where(distance < radii + 1, 2, 0)).astype("uint8")
        colours = np.array([[0.2, 0.3, 0.2], [0.9, 0.5, 0.2], [0.1, 0.1, 0.8]])
        images = (colours[masks] + rng.normal(0, 0.1, (300, 32, 32, 3))).astype("float32")
        return Dataset(
            "discs",
            Split(images[:240], masks[:240]),
            Split(images[240:], masks[240:]),
            outputs=outputs.pixels("background", "disc", "border"),
        )

    def build(self, hp, data):
        inputs = keras.Input(data.input_shape)
        fine = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
        coarse = layers.Conv2D(32, 3, 2, "same", activation="relu")(fine)
        coarse = layers.Conv2D(32, 3, padding="same", activation="relu")(coarse)
        x = layers.Concatenate()([fine, layers.UpSampling2D()(coarse)])
        x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
        model = keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(x))
        model.compile(keras.optimizers.Adam(hp.rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model
