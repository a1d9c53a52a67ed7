"""Texts of your own, as bags of words: folders of .txt files, or a table of texts and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlctl.errors import UsageError
from mlctl.recipes import Recipe, Values, hyperparameter, minimize, option

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source


class Texts(Recipe):
    """Dense network on texts of your own: a folder a class of .txt files, or a table with text and label"""

    name = "texts"
    objective = minimize("val_loss")
    epochs, batch_size, learning_rate = 8, 64, 1e-3
    units = hyperparameter(48, low=4, high=512, step=4, help="width of each hidden layer")
    dropout = hyperparameter(0.4, low=0.0, high=0.8, help="share of values left out while training")
    vocabulary = option(20_000, low=100, high=65_000, help="how many of the most frequent words count")
    target = option("", help="a table's column of labels (--target)")
    text = option("", help="a table's column of texts")
    split_seed = option(7, low=0, help="deals the texts out to training, validation and test")

    def load(self, source: Source) -> Dataset:
        """Return the texts as bags of words; the vocabulary is that of the training texts alone."""
        from mlctl.data.files import texts
        from mlctl.data.sources.locate import given_path
        from mlctl.serving.scoring import words_of

        if not source.given:
            raise UsageError("there are no texts", "give them: mlctl train FOLDER")
        of = source.options
        return texts.read(
            given_path(source), words_of, of.vocabulary, of.split_seed, of.target, of.text, source.given
        )

    def encoder(self, data: Dataset) -> Any:
        """Look words up in the vocabulary."""
        from mlctl.recipes.encoders import words

        return words(data.extra["words"], data.extra["column"])

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled network."""
        import keras
        from keras import layers

        classes = len(data.classes)
        answer, loss = (
            ("sigmoid", "binary_crossentropy")
            if classes == 2
            else ("softmax", "sparse_categorical_crossentropy")
        )
        model = keras.Sequential([
            keras.Input(data.input_shape),
            layers.Dense(hp.units, activation="relu"),
            layers.Dropout(hp.dropout),
            layers.Dense(hp.units, activation="relu"),
            layers.Dropout(hp.dropout),
            layers.Dense(1 if classes == 2 else classes, activation=answer, dtype="float32"),
        ])  # fmt: skip
        model.compile(keras.optimizers.Adam(hp.rate), loss=loss, metrics=["accuracy"])
        return model
