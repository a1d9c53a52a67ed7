"""The search of tests/benchmarks/tuning.py as in Optuna's Keras example; prints the best score."""

import sys
import time

import keras
import numpy as np
import optuna

with np.load(sys.argv[1]) as file:
    x, y = file["x_train"].astype("float32") / 255, file["y_train"].astype("int64")
order = np.random.default_rng(7).permutation(len(x))
train, validation = order[5000:], order[:5000]


def note(sign):
    with open(f"{sys.argv[2]}/times", "a") as times:
        times.write(f"{sign}{time.time()}\n")


def objective(trial):
    keras.utils.clear_session()
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(trial.suggest_int("units", 16, 64, step=16), activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    name = trial.suggest_categorical("optimizer", ["rmsprop", "adam"])
    optimizer = keras.optimizers.RMSprop(rate) if name == "rmsprop" else keras.optimizers.Adam(rate)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    data = (x[validation], y[validation])
    note("+")
    history = model.fit(x[train], y[train], epochs=3, batch_size=128, validation_data=data, verbose=0)
    note("-")
    return max(history.history["val_accuracy"])


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=int(sys.argv[4])))
study.optimize(objective, n_trials=8)
print("best", study.best_value)
