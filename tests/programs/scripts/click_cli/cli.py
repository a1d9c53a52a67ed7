"""A click group: `python cli.py train --lr 1e-3 housing.csv`."""

import click
import keras
import numpy as np
import pandas as pd

keras.utils.set_random_seed(0)


@click.group()
@click.option("--verbose/--quiet", default=False)
@click.pass_context
def cli(ctx, verbose):
    ctx.obj = {"verbose": 1 if verbose else 0}


@cli.command()
@click.argument("table", type=click.Path(exists=True))
@click.option("--lr", default=1e-3, show_default=True)
@click.option("-n", "--epochs", default=20)
@click.option("--hidden", multiple=True, type=int, default=(32, 16))
@click.pass_obj
def train(obj, table, lr, epochs, hidden):
    frame = pd.read_csv(table).dropna()
    y = frame.pop("median_house_value").to_numpy("float32") / 1e5
    x = {
        "place": frame[["longitude", "latitude"]].to_numpy("float32"),
        "house": np.log1p(frame[["total_rooms", "population", "median_income"]].to_numpy("float32")),
    }
    inputs = {name: keras.Input(part.shape[1:], name=name) for name, part in x.items()}
    merged = keras.layers.Concatenate()([keras.layers.BatchNormalization()(part) for part in inputs.values()])
    for units in hidden:
        merged = keras.layers.Dense(units, activation="relu")(merged)
    model = keras.Model(inputs, keras.layers.Dense(1, name="value")(merged))
    model.compile(keras.optimizers.Adam(lr), loss="mse", metrics=["mae"])
    model.fit(x, y, epochs=epochs, batch_size=256, validation_split=0.2, verbose=obj["verbose"])
    model.save("houses.keras")
    click.echo("done")


@cli.command()
def show():
    keras.models.load_model("houses.keras").summary()


if __name__ == "__main__":
    cli()
