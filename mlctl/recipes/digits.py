"""Handwritten digits from scikit-learn: nothing is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlctl.recipes import Recipe, Values, hyperparameter, maximize, option

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source


class Digits(Recipe):
    """Small CNN on 1,797 handwritten digits of 8x8 pixels, bundled with scikit-learn"""

    name = "digits"
    objective = maximize("val_accuracy")
    epochs, batch_size, learning_rate, schedule = 30, 64, 3e-3, "cosine"
    units = hyperparameter(64, low=16, high=256, step=16, help="width of the hidden layer")
    dropout = hyperparameter(0.3, low=0.0, high=0.8, help="share of values dropped in training")
    split_seed = option(7, low=0, help="seed of the split into training, validation and test rows")

    def load(self, source: Source) -> Dataset:
        """Return the digits, split within each class."""
        from mlctl.data.builtin.digits import load_digits

        return load_digits(source)

    def encoder(self, data: Dataset) -> Any:
        """Scale pixels from 0..16."""
        from mlctl.recipes.encoders import pixels

        return pixels((8, 8), high=16)

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled CNN."""
        import keras
        from keras import layers

        inputs = keras.Input((8, 8, 1))
        # in training only, by up to 0.8 pixels; without the argument, `model(x)` would shift its input, too
        x = layers.RandomTranslation(0.1, 0.1, fill_mode="constant")(inputs, training=None)
        for layer in (
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(hp.dropout),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(hp.dropout),
            layers.Dense(hp.units, activation="relu"),
            layers.Dropout(hp.dropout),
            layers.Dense(len(data.classes), activation="softmax", dtype="float32"),
        ):
            x = layer(x)
        model = keras.Model(inputs, x)
        model.compile(
            keras.optimizers.Adam(hp.rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        return model
