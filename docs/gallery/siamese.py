"""Two inputs: whether two pictures show the same digit."""

import keras
import numpy as np
from digits28 import pictures
from keras import layers, ops

from mlctl.recipes import Dataset, Recipe, Split, maximize


@keras.saving.register_keras_serializable("gallery")
def distance(codes):
    """Return the Euclidean distance of two codes (n, k): (n, 1)."""
    return ops.sqrt(ops.maximum(ops.sum(ops.square(codes[0] - codes[1]), axis=1, keepdims=True), 1e-7))


def pairs(images, digits, seed):
    """Return pairs of pictures by input name, and 1 for a pair of different digits."""
    rng = np.random.default_rng(seed)
    by_digit = [np.flatnonzero(digits == digit) for digit in range(10)]
    other = np.array(
        [
            rng.choice(by_digit[(digit + rng.integers(1, 10) * (row % 2)) % 10])
            for row, digit in enumerate(digits)
        ]
    )
    return {"left": images, "right": images[other]}, (digits != digits[other]).astype("float32")


class Siamese(Recipe):
    """Siamese network with a contrastive loss"""

    objective = maximize("val_accuracy")
    epochs, batch_size = 3, 32

    def load(self, source):
        train, validation = pictures(source, 2000, 500)
        return Dataset(
            "pairs", Split(*pairs(*train, 0)), Split(*pairs(*validation, 1)), classes=("same", "other")
        )

    def build(self, hp, data):
        encode = keras.Sequential(
            [
                layers.Conv2D(8, 5, activation="tanh"),
                layers.AveragePooling2D(2),
                layers.Conv2D(16, 5, activation="tanh"),
                layers.AveragePooling2D(2),
                layers.Flatten(),
                layers.Dense(10, activation="tanh"),
            ]
        )
        left, right = keras.Input((28, 28, 1), name="left"), keras.Input((28, 28, 1), name="right")
        x = layers.Lambda(distance, output_shape=(1,))([encode(left), encode(right)])
        x = layers.Dense(1, activation="sigmoid")(layers.BatchNormalization()(x))
        model = keras.Model({"left": left, "right": right}, x)

        def contrastive_loss(target, answer):
            return ops.mean(
                (1 - target) * ops.square(answer) + target * ops.square(ops.maximum(1 - answer, 0))
            )

        model.compile(keras.optimizers.RMSprop(hp.rate), contrastive_loss, metrics=["accuracy"])
        return model
