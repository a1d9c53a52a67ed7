"""The search of tests/benchmarks/tuning.py as in KerasTuner's guide; prints the best score."""

import os
import sys
import time

import keras
import keras_tuner
import numpy as np

with np.load(sys.argv[1]) as file:
    x, y = file["x_train"].astype("float32") / 255, file["y_train"].astype("int64")
order = np.random.default_rng(7).permutation(len(x))
train, validation = order[5000:], order[:5000]


def build(hp):
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(hp.Int("units", 16, 64, step=16), activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    name = hp.Choice("optimizer", ["rmsprop", "adam"])
    optimizer = keras.optimizers.RMSprop(rate) if name == "rmsprop" else keras.optimizers.Adam(rate)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


tuner = keras_tuner.BayesianOptimization(
    build,
    objective="val_accuracy",
    max_trials=8,
    seed=int(sys.argv[4]),
    directory=sys.argv[2],
    project_name="search",
)
data = (x[validation], y[validation])


def note(sign):
    with open(f"{sys.argv[2]}/times", "a") as times:
        times.write(f"{sign}{time.time()}\n")


watch = keras.callbacks.LambdaCallback(on_train_begin=lambda _: note("+"), on_train_end=lambda _: note("-"))
tuner.search(x[train], y[train], epochs=3, batch_size=128, validation_data=data, verbose=0, callbacks=[watch])
if "KERASTUNER_TUNER_ID" not in os.environ:
    print("best", tuner.oracle.get_best_trials(1)[0].score)
