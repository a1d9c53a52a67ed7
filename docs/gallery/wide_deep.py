"""A table of numbers and words that feeds named inputs."""

import keras
import numpy as np
import pandas as pd
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, maximize

AREAS, SOILS = ["north", "south", "west"], ["clay", "sand", "rock", "peat"]


class WideDeep(Recipe):
    """Wide and deep network on numbers and words"""

    objective = maximize("val_accuracy")
    epochs, learning_rate = 6, 1e-2

    def load(self, source):
        rng = np.random.default_rng(0)
        table = pd.DataFrame(
            {
                "height": rng.normal(2000, 300, 1200),
                "slope": rng.uniform(0, 40, 1200),
                "area": rng.choice(AREAS, 1200),
                "soil": rng.choice(SOILS, 1200),
            }
        )
        score = (table.height - 2000) / 300 + (table.area == "north") - (table.soil == "rock") * 1.5
        kinds = np.digitize(score + rng.normal(0, 0.2, 1200), [-0.5, 0.7]) + 1  # labels 1, 2 and 3
        return Dataset(
            "forest",
            Split(table[:900], kinds[:900]),
            Split(table[900:], kinds[900:]),
            classes=("pine", "fir", "ash"),
        )

    def build(self, hp, data):
        rows = data.train.inputs
        inputs, wide, deep = {}, [], []
        for name in rows:
            if not pd.api.types.is_numeric_dtype(rows[name]):
                inputs[name] = keras.Input((1,), name=name, dtype="string")
                lookup = layers.StringLookup(vocabulary=sorted(rows[name].unique()), output_mode="int")
                code = lookup(inputs[name])
                wide.append(layers.CategoryEncoding(lookup.vocabulary_size(), "one_hot")(code))
                deep.append(layers.Flatten()(layers.Embedding(lookup.vocabulary_size(), 4)(code)))
            else:
                inputs[name] = keras.Input((1,), name=name)
                scale = layers.Normalization(mean=float(rows[name].mean()), variance=float(rows[name].var()))
                wide.append(scale(inputs[name]))
                deep.append(scale(inputs[name]))
        x = layers.Concatenate()(deep)
        for _ in range(2):
            x = layers.Dropout(0.1)(layers.ReLU()(layers.BatchNormalization()(layers.Dense(32)(x))))
        x = layers.Concatenate()([layers.BatchNormalization()(layers.Concatenate()(wide)), x])
        model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
        model.compile(keras.optimizers.Adam(hp.rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model
