"""Digits of scikit-learn with a typer command line."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


class Optimizer(str, Enum):
    adam = "adam"
    sgd = "sgd"
    rmsprop = "rmsprop"


@app.command()
def main(
    epochs: Annotated[int, typer.Option("--epochs", "-e")] = 30,
    lr: Annotated[float, typer.Option(help="Learning rate")] = 1e-3,
    batch_size: int = 64,
    optimizer: Optimizer = Optimizer.adam,
    augment: Annotated[bool, typer.Option("--augment/--no-augment")] = False,
    units: Annotated[list[int] | None, typer.Option()] = None,
    out: Path = Path("digits.keras"),
) -> None:
    """Train on the digits of scikit-learn."""
    import keras
    import numpy as np
    from sklearn.datasets import load_digits

    keras.utils.set_random_seed(3)
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1) / 16.0
    x, y, x_test, y_test = images[:1500], labels[:1500], images[1500:], labels[1500:]
    if augment:
        x, y = np.concatenate([x, np.roll(x, 1, axis=2)]), np.concatenate([y, y])

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    for count in units or [64]:
        model.add(keras.layers.Dense(count, activation="relu"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    optimizers = {
        Optimizer.adam: keras.optimizers.Adam,
        Optimizer.sgd: keras.optimizers.SGD,
        Optimizer.rmsprop: keras.optimizers.RMSprop,
    }
    model.compile(optimizers[optimizer](lr), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size, epochs, validation_split=0.15, verbose=2)
    result = model.evaluate(x_test, y_test, return_dict=True, verbose=0)
    model.save(out)
    typer.echo(f"accuracy {result['accuracy']:.3f}")


if __name__ == "__main__":
    app()
