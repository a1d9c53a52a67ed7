import argparse
import logging

import keras

from . import data
from .model import build

log = logging.getLogger(__name__)


def parse():
    parser = argparse.ArgumentParser(prog="houses.train")
    parser.add_argument("table")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--no-shuffle", dest="shuffle", action="store_false")
    return parser.parse_args()


def main():
    logging.basicConfig(level=logging.INFO)
    options = parse()
    keras.utils.set_random_seed(11)
    houses = data.read(options.table, options.rows)
    train, rest = houses.split(0.7)
    validation, test = rest.split(0.5)
    log.info("%d houses to train on", len(train.x))
    model = build(houses.x.shape[1], options.units, options.depth)
    model.compile(
        keras.optimizers.AdamW(options.lr, clipnorm=1.0),
        loss="mse",
        metrics=[keras.metrics.MeanAbsoluteError(name="mae")],
    )
    model.fit(
        train.x,
        train.y,
        epochs=options.epochs,
        batch_size=options.batch_size,
        shuffle=options.shuffle,
        validation_data=(validation.x, validation.y),
        callbacks=[keras.callbacks.EarlyStopping(patience=8, restore_best_weights=True)],
        verbose=2,
    )
    loss, mae = model.evaluate(test.x, test.y, verbose=0)
    log.info("test: loss %.4f, mae %.4f", loss, mae)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
