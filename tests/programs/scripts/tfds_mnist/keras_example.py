"""Training a network on digits with a tf.data pipeline."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

FILE = os.environ.get("MNIST", str(Path.home() / "tensorflow_datasets" / "mnist.npz"))
EXAMPLES = int(os.environ.get("EXAMPLES", 60000))
EPOCHS = int(os.environ.get("EPOCHS", 6))


def load(split, count):
    """Like tfds.load: a dataset of (image, label), and how many there are."""
    with np.load(FILE) as arrays:
        images, labels = arrays[f"x_{split}"][:count], arrays[f"y_{split}"][:count]
    dataset = tf.data.Dataset.from_tensor_slices((images[..., None], labels.astype("int64")))
    return dataset, len(images)


ds_train, num_examples = load("train", EXAMPLES)
ds_test, _ = load("test", EXAMPLES // 6)


def normalize_img(image, label):
    """Normalizes images: `uint8` -> `float32`."""
    return tf.cast(image, tf.float32) / 255.0, label


ds_train = ds_train.map(normalize_img, num_parallel_calls=tf.data.AUTOTUNE)
ds_train = ds_train.cache()
ds_train = ds_train.shuffle(num_examples)
ds_train = ds_train.batch(128)
ds_train = ds_train.prefetch(tf.data.AUTOTUNE)

ds_test = ds_test.map(normalize_img, num_parallel_calls=tf.data.AUTOTUNE)
ds_test = ds_test.batch(128)
ds_test = ds_test.cache()
ds_test = ds_test.prefetch(tf.data.AUTOTUNE)

model = tf.keras.models.Sequential(
    [
        tf.keras.layers.Flatten(input_shape=(28, 28, 1)),
        tf.keras.layers.Dense(128, activation="relu"),
        tf.keras.layers.Dense(10),
    ]
)
model.compile(
    optimizer=tf.keras.optimizers.Adam(0.001),
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
)
model.fit(
    ds_train,
    epochs=EPOCHS,
    validation_data=ds_test,
)
