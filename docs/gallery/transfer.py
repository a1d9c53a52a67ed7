"""Two phases: new layers on a frozen trunk, then everything at a lower learning rate."""

import keras
import numpy as np
from digits28 import pictures
from keras import layers

from mlctl.recipes import Dataset, Phase, Recipe, Split, maximize


def compile_model(model, rate):
    """Compile a model that answers one logit."""
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
    )


def start_fine_tuning(model, hp, data):
    """Train the trunk too."""
    model.get_layer("trunk").trainable = True
    compile_model(model, hp.learning_rate / 10)


class Transfer(Recipe):
    """Threes and eights, by a trunk that has seen all digits"""

    objective = maximize("val_accuracy")
    learning_rate = 1e-2

    def load(self, source):
        train, validation = pictures(source, 6000, 2000)
        splits = []
        for images, digits in (train, validation):
            rows = np.flatnonzero((digits == 3) | (digits == 8))
            splits.append(Split(np.repeat(images[rows], 3, axis=-1), (digits[rows] == 8).astype("int64")))
        self.digits = train
        return Dataset("threes", *splits, classes=("3", "8"), extra={"digits": train})

    def phases(self, hp, data):
        return [Phase(name="head", epochs=2), Phase(name="fine-tuning", epochs=2, start=start_fine_tuning)]

    def build(self, hp, data):
        trunk = keras.Sequential(
            [
                keras.Input((28, 28, 3)),
                layers.Conv2D(8, 3, 2, activation="relu"),
                layers.BatchNormalization(),
                layers.Conv2D(16, 3, 2, activation="relu"),
                layers.GlobalAveragePooling2D(),
            ],
            name="trunk",
        )
        images, digits = data.extra["digits"]
        teacher = keras.Sequential([trunk, layers.Dense(10, activation="softmax")])
        teacher.compile("adam", "sparse_categorical_crossentropy")
        teacher.fit(np.repeat(images[:2000], 3, axis=-1), digits[:2000], epochs=1, verbose=0)
        trunk.trainable = False
        inputs = keras.Input((28, 28, 3))
        model = keras.Model(inputs, layers.Dense(1)(trunk(inputs, training=False)))
        compile_model(model, hp.learning_rate)
        return model
