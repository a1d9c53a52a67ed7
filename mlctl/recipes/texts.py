"""Your own texts, as bags of n-grams: folders of .txt files, or a table of texts and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mlctl.domain.threshold import HELP as THRESHOLD_HELP
from mlctl.errors import UsageError
from mlctl.recipes import Recipe, Values, hyperparameter, minimize, option
from mlctl.recipes.recipe import SPARSE_BAGS

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source

PATIENCE, MIN_DELTA = 4, 5e-4  # epochs without so much less validation loss end the training
STEPS_PER_EPOCH, BATCH_SIZES = 60, (8, 64)
MOST_NGRAMS, FEWEST_NGRAMS, MOST_WEIGHTS = 50_000, 10_000, 320_000  # the last is n-grams times classes


def _fit_ngrams(texts: Sequence[str], labels: Any, *, most: int, column: str) -> Any:
    """Return the encoder of training texts, and its bags of them."""
    from mlctl.recipes import encoders

    if not most:
        most = min(MOST_NGRAMS, max(FEWEST_NGRAMS, MOST_WEIGHTS // (int(labels.max()) + 1)))
    return encoders.ngrams_with_bags(texts, labels, most=most, column=column)


class Texts(Recipe):
    """N-grams of words and characters of your own texts: a folder of .txt files per class, or a table of texts"""

    name = "texts"
    objective = minimize("val_loss")
    epochs, learning_rate = 30, 0.02
    needs_tensorflow = SPARSE_BAGS
    refits = True
    batch_size = hyperparameter(0, low=0, high=1_000_000, help="examples per step; 0: by the number of texts")
    layers = hyperparameter(0, low=0, high=2, help="number of hidden layers; 0 is a linear model")
    units = hyperparameter(48, low=4, high=512, step=4, help="width of each hidden layer", when="layers>=1")
    dropout = hyperparameter(
        0.4, low=0.0, high=0.8, help="share of values dropped in training", when="layers>=1"
    )
    vocabulary = option(
        0, low=0, high=500_000, help="number of n-grams to use; 0: 50,000, or fewer of more than six classes"
    )
    class_weight = option(
        "none",
        choices=("none", "balanced"),
        help="balanced: all classes weigh the same, however rare they are",
    )
    threshold = option("", help=THRESHOLD_HELP)
    target = option("", help="for a table: the column of labels (--target)")
    text = option("", help="for a table: the column of texts")
    validation = option("", help="for a table: a file with the validation texts (--validation)")
    test = option("", help="for a table: a file with the test texts (--test)")
    split_seed = option(7, low=0, help="seed of the split into training, validation and test rows")

    def load(self, source: Source) -> Dataset:
        """Return the texts as bags of n-grams, which come from the training texts only."""
        from mlctl.data.files import texts
        from mlctl.data.sources.locate import local_path

        if not source.location:
            raise UsageError("no texts were given", "name their folder or table instead of texts")
        options = source.options
        validation, test = (
            local_path(replace(source, location=file)) if file else None
            for file in (options.validation, options.test)
        )
        data = texts.load_texts(
            local_path(source),
            partial(_fit_ngrams, most=options.vocabulary),
            seed=options.split_seed,
            target=options.target,
            text_column=options.text,
            source=source.location,
            validation=validation,
            test=test,
        )
        low, high = BATCH_SIZES
        batch_size = min(high, max(low, 2 ** round(math.log2(max(1, len(data.train) / STEPS_PER_EPOCH)))))
        return replace(data, defaults={"batch_size": batch_size})

    def encoder(self, data: Dataset) -> Any:
        """Look up n-grams."""
        return data.extra["encoder"]

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled network; without hidden layers, a linear model."""
        import keras
        from keras import layers

        classes = len(data.classes)
        activation, loss = (
            ("sigmoid", "binary_crossentropy")
            if classes == 2
            else ("softmax", "sparse_categorical_crossentropy")
        )
        model = keras.Sequential([keras.Input(data.input_shape)])
        for _ in range(hp.layers):
            model.add(layers.Dense(hp.units, activation="relu"))
            model.add(layers.Dropout(hp.dropout))
        model.add(
            layers.Dense(
                1 if classes == 2 else classes,
                activation=activation,
                dtype="float32",
                kernel_initializer="glorot_uniform" if hp.layers else "zeros",
            )
        )
        model.compile(keras.optimizers.Adam(hp.rate), loss=loss, metrics=["accuracy"])
        return model

    def callbacks(self, hp: Values, data: Dataset) -> list[keras.callbacks.Callback]:
        """Stop when the validation loss has not fallen for a few epochs: more of them only fit training texts."""
        import keras

        if data.validation is None:
            return []
        return [keras.callbacks.EarlyStopping(monitor="val_loss", patience=PATIENCE, min_delta=MIN_DELTA)]
