"""50,000 movie reviews, positive or negative, as bags of words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlctl.recipes import Recipe, Values, hyperparameter, maximize, option
from mlctl.recipes.recipe import SPARSE_BAGS

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source


class Imdb(Recipe):
    """Dense network of 1,505,201 parameters on 50,000 movie reviews as bags of 30,000 words"""

    name = "imdb"
    objective = maximize("val_f1")  # selects another epoch than accuracy does
    epochs, batch_size, learning_rate = 10, 500, 0.01
    needs_tensorflow = SPARSE_BAGS
    units = hyperparameter(50, low=5, high=500, step=5, help="width of each hidden layer")
    vocabulary = option(30_000, low=100, high=88_000, help="number of most frequent words to use")
    split_seed = option(7, low=0, help="seed of the split into training and validation rows")

    def load(self, source: Source) -> Dataset:
        """Return 80 % of the reviews for training, 20 % for validation; the published task has no test split."""
        from mlctl.data.builtin.imdb import load_imdb

        return load_imdb(source)

    def encoder(self, data: Dataset) -> Any:
        """Look up words in the index of the data set."""
        from mlctl.recipes.encoders import words

        return words(data.extra["words"])

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled network."""
        import keras
        from keras import layers

        model = keras.Sequential(
            [
                keras.Input(data.input_shape),
                layers.Dense(hp.units, activation="relu"),
                layers.Dropout(0.3),
                layers.Dense(hp.units, activation="relu"),
                layers.Dropout(0.2),
                layers.Dense(hp.units, activation="relu"),
                layers.Dense(1, activation="sigmoid", dtype="float32"),
            ]
        )
        model.compile(keras.optimizers.Adam(hp.rate), loss="binary_crossentropy", metrics=["accuracy"])
        return model
