"""Trains a regression of houses' values, with absl's flags as in Google's research code."""

import os

import numpy as np
import tensorflow as tf
from absl import app, flags, logging

FLAGS = flags.FLAGS
flags.DEFINE_string("data_path", "housing.csv", "Path of the table.")
flags.DEFINE_integer("train_epochs", 30, "Number of epochs.", lower_bound=1)
flags.DEFINE_integer("batch_size", 256, "Batch size.")
flags.DEFINE_float("learning_rate", 1e-3, "Learning rate at the start.")
flags.DEFINE_bool("use_dropout", True, "Whether to drop units.")
flags.DEFINE_list("hidden_units", ["64", "32"], "Units of each hidden layer.")
flags.DEFINE_enum("schedule", "cosine", ["cosine", "constant"], "Schedule of the learning rate.")
flags.DEFINE_string("model_dir", "/tmp/houses", "Where to write checkpoints.")


def read():
    table = np.genfromtxt(FLAGS.data_path, delimiter=",", skip_header=1, usecols=range(9))
    table = table[~np.isnan(table).any(axis=1)].astype("float32")
    np.random.default_rng(0).shuffle(table)
    x, y = table[:, :8], table[:, 8:] / 100_000
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    cut = int(len(x) * 0.8)
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def build():
    stack = [tf.keras.Input((8,))]
    for units in map(int, FLAGS.hidden_units):
        stack.append(tf.keras.layers.Dense(units, activation="relu"))
        if FLAGS.use_dropout:
            stack.append(tf.keras.layers.Dropout(0.1))
    return tf.keras.Sequential([*stack, tf.keras.layers.Dense(1)])


def main(argv):
    if len(argv) > 1:
        raise app.UsageError("Too many command-line arguments.")
    logging.set_verbosity(logging.INFO)
    train, validation = read()
    rate = FLAGS.learning_rate
    if FLAGS.schedule == "cosine":
        steps = FLAGS.train_epochs * -(-len(train[0]) // FLAGS.batch_size)
        rate = tf.keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, steps)
    model = build()
    model.compile(
        optimizer=tf.keras.optimizers.Adam(rate),
        loss=tf.keras.losses.Huber(),
        metrics=[tf.keras.metrics.RootMeanSquaredError(name="rmse")],
    )
    os.makedirs(FLAGS.model_dir, exist_ok=True)
    model.fit(
        *train,
        batch_size=FLAGS.batch_size,
        epochs=FLAGS.train_epochs,
        validation_data=validation,
        verbose=2,
        callbacks=[
            tf.keras.callbacks.ModelCheckpoint(
                os.path.join(FLAGS.model_dir, "ckpt-{epoch:02d}.weights.h5"), save_weights_only=True
            ),
            tf.keras.callbacks.CSVLogger(os.path.join(FLAGS.model_dir, "log.csv")),
        ],
    )
    logging.info("Evaluation: %s", model.evaluate(*validation, return_dict=True, verbose=0))


if __name__ == "__main__":
    app.run(main)
