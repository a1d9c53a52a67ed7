"""50,000 film reviews, positive or negative, as bags of words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlctl.recipes import Recipe, Values, hyperparameter, maximize, option

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source


class Imdb(Recipe):
    """Dense network of 1,505,201 parameters on 50,000 film reviews as bags of 30,000 words"""

    name = "imdb"
    objective = maximize("val_f1")  # picks another epoch than accuracy does
    epochs, batch_size, learning_rate = 10, 500, 0.01
    units = hyperparameter(50, low=5, high=500, step=5, help="width of each hidden layer")
    vocabulary = option(30_000, low=100, high=88_000, help="how many of the most frequent words count")
    split_seed = option(7, low=0, help="deals the reviews out to training and validation")

    def load(self, source: Source) -> Dataset:
        """Return 80 % of all reviews for training, 20 % for validation; as published, there is no test."""
        from mlctl.data.builtin import keras_datasets

        return keras_datasets.imdb(source)

    def encoder(self, data: Dataset) -> Any:
        """Look words up in the data set's own index."""
        from mlctl.recipes.encoders import words

        return words(data.extra["words"])

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled network."""
        import keras
        from keras import layers

        model = keras.Sequential([
            keras.Input(data.input_shape),
            layers.Dense(hp.units, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(hp.units, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(hp.units, activation="relu"),
            layers.Dense(1, activation="sigmoid", dtype="float32"),
        ])  # fmt: skip
        model.compile(keras.optimizers.Adam(hp.rate), loss="binary_crossentropy", metrics=["accuracy"])
        return model
