"""The search of tests/benchmarks/tuning.py as in Ray Tune's guide, with two trials in parallel; prints the best score."""

import sys
import time

from ray import tune
from ray.tune.search.optuna import OptunaSearch

DATA, FOLDER = sys.argv[1:3]


def note(sign):
    with open(f"{FOLDER}/times", "a") as times:
        times.write(f"{sign}{time.time()}\n")


def train(config):
    import keras
    import numpy as np

    with np.load(DATA) as file:
        x, y = file["x_train"].astype("float32") / 255, file["y_train"].astype("int64")
    order = np.random.default_rng(7).permutation(len(x))
    train, validation = order[5000:], order[:5000]
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(config["units"], activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    rate = config["learning_rate"]
    optimizer = (
        keras.optimizers.RMSprop(rate) if config["optimizer"] == "rmsprop" else keras.optimizers.Adam(rate)
    )
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    data = (x[validation], y[validation])
    note("+")
    history = model.fit(x[train], y[train], epochs=3, batch_size=128, validation_data=data, verbose=0)
    note("-")
    tune.report({"accuracy": max(history.history["val_accuracy"])})


space = {
    "units": tune.choice([16, 32, 48, 64]),
    "learning_rate": tune.loguniform(1e-4, 1e-2),
    "optimizer": tune.choice(["rmsprop", "adam"]),
}
tune_config = tune.TuneConfig(
    metric="accuracy",
    mode="max",
    num_samples=8,
    max_concurrent_trials=2,
    search_alg=OptunaSearch(seed=int(sys.argv[4])),
)
tuner = tune.Tuner(
    tune.with_resources(train, {"cpu": 1}),
    param_space=space,
    tune_config=tune_config,
    run_config=tune.RunConfig(storage_path=FOLDER, verbose=0),
)
print("best", tuner.fit().get_best_result().metrics["accuracy"])
