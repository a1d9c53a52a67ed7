"""The 70,000 handwritten digits of MNIST, and a small CNN that sees them slightly shifted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlctl.recipes import Recipe, Values, hyperparameter, maximize, option

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source

SHIFT = 0.08  # of the height and width: up to two pixels


class Mnist(Recipe):
    """CNN of 188,234 parameters on 70,000 handwritten digits of 28x28 pixels"""

    name = "mnist"
    objective = maximize("val_accuracy")
    epochs, batch_size, learning_rate, schedule = 24, 256, 1.5e-3, "cosine"
    bfloat16 = True
    units = hyperparameter(128, low=32, high=512, step=32, help="width of the hidden layer")
    split_seed = option(7, low=0, help="seed of the split of the 60,000 rows into training and validation")

    def load(self, source: Source) -> Dataset:
        """Return 55,000 images for training, 5,000 for validation, and the original 10,000 for the test."""
        from mlctl.data.builtin.mnist import load_mnist

        return load_mnist(source)

    def encoder(self, data: Dataset) -> Any:
        """Scale pixels from 0..255."""
        from mlctl.recipes.encoders import pixels

        return pixels((28, 28), high=255)

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled CNN."""
        import keras
        from keras import layers

        model = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.RandomTranslation(SHIFT, SHIFT, fill_mode="constant", interpolation="nearest"),
                layers.Conv2D(32, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Conv2D(64, 3, activation="relu"),
                layers.Conv2D(64, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Dropout(0.3),
                layers.Flatten(),
                layers.Dense(hp.units, activation="relu"),
                layers.Dropout(0.4),
                layers.Dense(len(data.classes), activation="softmax", dtype="float32"),
            ]
        )
        model.compile(
            keras.optimizers.AdamW(hp.rate, weight_decay=1e-4),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model
