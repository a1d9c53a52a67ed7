"""Pictures from a `tf.data` pipeline, augmentation in the model, one logit as the answer."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from mlctl.recipes import Dataset, Recipe, maximize


class Augmented(Recipe):
    """Two classes of pictures, read by tf.data"""

    objective = maximize("val_acc")
    epochs, learning_rate = 4, 3e-3

    def load(self, source):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, 500)
        images = rng.integers(0, 90, (500, 64, 64, 3)).astype("uint8")
        for image, label in zip(images, labels, strict=True):
            y, x = rng.integers(5, 40, 2)
            image[y : y + 18, x : x + 18, 2 * label] += 140
        pipeline = tf.data.Dataset.from_tensor_slices((images.astype("float32"), labels))
        train = pipeline.take(400).shuffle(400, seed=1).batch(32).prefetch(2)
        return Dataset("squares", train, pipeline.skip(400).batch(32), classes=("red", "blue"))

    def build(self, hp, data):
        inputs = keras.Input((64, 64, 3))
        x = layers.RandomFlip("horizontal")(inputs)
        x = layers.RandomRotation(0.1)(x)
        x = layers.Rescaling(1 / 255)(x)
        for filters in (16, 32):
            x = layers.SeparableConv2D(filters, 3, 2, "same")(x)
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
        x = layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x))
        model = keras.Model(inputs, layers.Dense(1)(x))
        model.compile(
            keras.optimizers.Adam(hp.rate),
            keras.losses.BinaryCrossentropy(from_logits=True),
            metrics=[keras.metrics.BinaryAccuracy(name="acc", threshold=0.0)],
        )
        return model
