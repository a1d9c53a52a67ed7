"""The sweep of tests/benchmarks/script_sweep.py with Optuna, four threads and its median pruner; prints the best score."""

import sys

import keras
import optuna
import pandas as pd

train, test = pd.read_pickle("train.pkl"), pd.read_pickle("test.pkl")
x_train, y_train = train.drop(columns=["median_house_value"]).values, train["median_house_value"].values
x_test, y_test = test.drop(columns=["median_house_value"]).values, test["median_house_value"].values


class Prune(keras.callbacks.Callback):
    def __init__(self, trial):
        super().__init__()
        self.trial = trial

    def on_epoch_end(self, epoch, logs=None):
        self.trial.report(logs["val_mae"], epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def objective(trial):
    model = keras.Sequential(
        [
            keras.Input((x_train.shape[1],)),
            keras.layers.Dense(trial.suggest_int("first", 2, 10, step=2), activation="relu"),
            keras.layers.Dense(trial.suggest_int("second", 2, 10, step=2), activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    history = model.fit(
        x_train,
        y_train,
        batch_size=trial.suggest_categorical("batch_size", [25, 50, 100]),
        epochs=trial.suggest_categorical("epochs", [5, 10, 15]),
        validation_data=(x_test, y_test),
        verbose=2,
        callbacks=[Prune(trial)],
    )
    return min(history.history["val_mae"])


study = optuna.create_study(
    sampler=optuna.samplers.RandomSampler(seed=int(sys.argv[1])),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1, interval_steps=2),
)
study.optimize(objective, n_trials=8, n_jobs=4)
print(
    "best", study.best_value, "after", sum(len(trial.intermediate_values) for trial in study.trials), "epochs"
)
