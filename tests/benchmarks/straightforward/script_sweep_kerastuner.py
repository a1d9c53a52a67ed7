"""The sweep of tests/benchmarks/script_sweep.py with KerasTuner; prints the best score."""

import sys

import keras
import keras_tuner
import pandas as pd

train, test = pd.read_pickle("train.pkl"), pd.read_pickle("test.pkl")
x_train, y_train = train.drop(columns=["median_house_value"]).values, train["median_house_value"].values
x_test, y_test = test.drop(columns=["median_house_value"]).values, test["median_house_value"].values
epochs = 0


class Count(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        global epochs
        epochs += 1


class Housing(keras_tuner.HyperModel):
    def build(self, hp):
        model = keras.Sequential(
            [
                keras.Input((x_train.shape[1],)),
                keras.layers.Dense(hp.Int("first", 2, 10, step=2), activation="relu"),
                keras.layers.Dense(hp.Int("second", 2, 10, step=2), activation="relu"),
                keras.layers.Dense(1),
            ]
        )
        model.compile(optimizer="adam", loss="mse", metrics=["mae"])
        return model

    def fit(self, hp, model, *args, **kwargs):
        size, count = hp.Choice("batch_size", [25, 50, 100]), hp.Choice("epochs", [5, 10, 15])
        return model.fit(*args, batch_size=size, epochs=count, **kwargs)


tuner = keras_tuner.RandomSearch(
    Housing(),
    objective=keras_tuner.Objective("val_mae", "min"),
    max_trials=8,
    seed=int(sys.argv[1]),
    overwrite=True,
)
tuner.search(x_train, y_train, validation_data=(x_test, y_test), verbose=2, callbacks=[Count()])
print("best", tuner.oracle.get_best_trials(1)[0].score, "after", epochs, "epochs")
