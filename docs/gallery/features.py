"""Columns by name, prepared by a FeatureSpace inside the model."""

import keras
import numpy as np
import pandas as pd
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, maximize


class Features(Recipe):
    """Two classes from columns of numbers, whole numbers and words"""

    objective = maximize("val_accuracy")
    epochs, learning_rate = 8, 1e-2

    def load(self, source):
        rng = np.random.default_rng(0)
        table = pd.DataFrame(
            {
                "sex": rng.integers(0, 2, 700),
                "pain": rng.choice(["none", "weak", "strong"], 700),
                "age": rng.normal(55, 9, 700),
                "pressure": rng.normal(130, 15, 700),
            }
        )
        risk = (table.age - 55) / 9 + table.sex + (table.pain == "strong") * 2 - 1
        ill = (risk + rng.normal(0, 0.3, 700) > 0.5).astype("int64")
        return Dataset(
            "hearts", Split(table[:550], ill[:550]), Split(table[550:], ill[550:]), classes=("healthy", "ill")
        )

    def build(self, hp, data):
        space = keras.utils.FeatureSpace(
            {
                "sex": keras.utils.FeatureSpace.integer_categorical(num_oov_indices=0),
                "pain": keras.utils.FeatureSpace.string_categorical(num_oov_indices=0),
                "age": keras.utils.FeatureSpace.float_discretized(num_bins=20),
                "pressure": keras.utils.FeatureSpace.float_normalized(),
            },
            output_mode="concat",
        )
        import tensorflow as tf

        space.adapt(tf.data.Dataset.from_tensor_slices(dict(data.train.inputs)).batch(64))
        inputs = space.get_inputs()
        x = layers.Dropout(0.3)(layers.Dense(32, activation="relu")(space.get_encoded_features()))
        model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
        model.compile(keras.optimizers.Adam(hp.rate), "binary_crossentropy", metrics=["accuracy"])
        return model
