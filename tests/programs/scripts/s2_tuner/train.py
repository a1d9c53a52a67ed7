import os

import keras_tuner as kt
import numpy as np
from tensorflow import keras
from tensorflow.keras import layers

TRAIN = int(os.environ.get("TRAIN", 50000))
HELD_OUT = int(os.environ.get("HELD_OUT", 10000))
TRIALS = int(os.environ.get("TRIALS", 4))
SEARCH_EPOCHS = int(os.environ.get("SEARCH_EPOCHS", 10))
MAX_EPOCHS = int(os.environ.get("MAX_EPOCHS", 100))


def build_model(hp):
    units = hp.Int("units", min_value=16, max_value=64, step=16)
    model = keras.Sequential(
        [
            layers.Dense(units, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = hp.Choice("optimizer", values=["rmsprop", "adam"])
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


(x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
x_train = x_train.reshape((-1, 28 * 28)).astype("float32") / 255
x_test = x_test.reshape((-1, 28 * 28)).astype("float32") / 255

x_val, y_val = x_train[-HELD_OUT:], y_train[-HELD_OUT:]
x_train, y_train = x_train[:TRAIN], y_train[:TRAIN]
x_test, y_test = x_test[:HELD_OUT], y_test[:HELD_OUT]

tuner = kt.BayesianOptimization(
    build_model,
    objective="val_accuracy",
    max_trials=TRIALS,
    executions_per_trial=2,
    directory="mnist_kt_test",
    overwrite=True,
)
tuner.search(
    x_train,
    y_train,
    batch_size=128,
    epochs=SEARCH_EPOCHS,
    validation_data=(x_val, y_val),
    callbacks=[keras.callbacks.EarlyStopping(monitor="val_loss", patience=5)],
    verbose=2,
)

TOP = int(os.environ.get("TOP", 1))
best_hps = tuner.get_best_hyperparameters(TOP)


def get_best_epoch(hp):
    model = build_model(hp)
    callbacks = [keras.callbacks.EarlyStopping(monitor="val_loss", mode="min", patience=10)]
    history = model.fit(
        x_train,
        y_train,
        validation_data=(x_val, y_val),
        epochs=MAX_EPOCHS,
        batch_size=128,
        callbacks=callbacks,
    )
    val_loss_per_epoch = history.history["val_loss"]
    best_epoch = val_loss_per_epoch.index(min(val_loss_per_epoch)) + 1
    print(f"Best epoch: {best_epoch}")
    return best_epoch


def get_best_trained_model(hp):
    best_epoch = get_best_epoch(hp)
    model = build_model(hp)
    x_full = np.concatenate((x_train, x_val))
    y_full = np.concatenate((y_train, y_val))
    model.fit(x_full, y_full, batch_size=128, epochs=int(best_epoch * 1.2))
    return model


best_models = []
for hp in best_hps:
    model = get_best_trained_model(hp)
    print(model.evaluate(x_test, y_test))
    best_models.append(model)
