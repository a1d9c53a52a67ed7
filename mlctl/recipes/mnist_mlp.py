"""A network of one hidden layer on MNIST: small, fast, and suited to tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlctl.recipes import Values, choice, hyperparameter
from mlctl.recipes.mnist import Mnist

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset


class MnistMlp(Mnist):
    """One hidden layer on 70,000 handwritten digits, with a width, an optimizer and a loss to tune"""

    name = "mnist-mlp"
    epochs, batch_size, learning_rate, schedule = 10, 128, 1e-3, "constant"
    bfloat16 = False  # too little arithmetic to be faster in it
    units = hyperparameter(64, low=16, high=512, step=16, help="width of the hidden layer")
    optimizer = choice("adam", "rmsprop", "sgd", help="the optimizer")
    loss = choice(
        "sparse_categorical_crossentropy", "mean_squared_error", "kl_divergence", help="the loss function"
    )

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled network."""
        import keras
        from keras import layers

        model = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Flatten(),
                layers.Dense(hp.units, activation="relu"),
                layers.Dense(len(data.classes), activation="softmax", dtype="float32"),
            ]
        )
        optimizer = keras.optimizers.get({"class_name": hp.optimizer, "config": {}})
        optimizer.learning_rate = hp.rate
        model.compile(optimizer, loss=hp.loss, metrics=["accuracy"])
        return model
