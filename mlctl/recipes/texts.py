"""Your own texts, as bags of words: folders of .txt files, or a table of texts and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlctl.errors import UsageError
from mlctl.recipes import Recipe, Values, hyperparameter, minimize, option

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source


class Texts(Recipe):
    """Dense network on your own texts: a folder of .txt files per class, or a table of texts and labels"""

    name = "texts"
    objective = minimize("val_loss")
    epochs, batch_size, learning_rate = 8, 64, 1e-3
    units = hyperparameter(48, low=4, high=512, step=4, help="width of each hidden layer")
    dropout = hyperparameter(0.4, low=0.0, high=0.8, help="share of values dropped in training")
    vocabulary = option(20_000, low=100, high=65_000, help="number of most frequent words to use")
    class_weight = option(
        "none",
        choices=("none", "balanced"),
        help="balanced: all classes weigh the same, however rare they are",
    )
    target = option("", help="for a table: the column of labels (--target)")
    text = option("", help="for a table: the column of texts")
    split_seed = option(7, low=0, help="seed of the split into training, validation and test rows")

    def load(self, source: Source) -> Dataset:
        """Return the texts as bags of words; the vocabulary comes from the training texts only."""
        from mlctl.data.files import texts
        from mlctl.data.sources.locate import local_path
        from mlctl.serving.scoring import split_words

        if not source.location:
            raise UsageError("no texts were given", "name their folder or table instead of texts")
        options = source.options
        return texts.load_texts(
            local_path(source),
            split_words,
            vocabulary_size=options.vocabulary,
            seed=options.split_seed,
            target=options.target,
            text_column=options.text,
            source=source.location,
        )

    def encoder(self, data: Dataset) -> Any:
        """Look up words in the vocabulary."""
        from mlctl.recipes.encoders import words

        return words(data.extra["words"], data.extra["column"])

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled network."""
        import keras
        from keras import layers

        classes = len(data.classes)
        activation, loss = (
            ("sigmoid", "binary_crossentropy")
            if classes == 2
            else ("softmax", "sparse_categorical_crossentropy")
        )
        model = keras.Sequential(
            [
                keras.Input(data.input_shape),
                layers.Dense(hp.units, activation="relu"),
                layers.Dropout(hp.dropout),
                layers.Dense(hp.units, activation="relu"),
                layers.Dropout(hp.dropout),
                layers.Dense(1 if classes == 2 else classes, activation=activation, dtype="float32"),
            ]
        )
        model.compile(keras.optimizers.Adam(hp.rate), loss=loss, metrics=["accuracy"])
        return model
