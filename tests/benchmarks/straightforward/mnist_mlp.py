"""One hidden layer on MNIST as a plain user writes it: `fit` on arrays, MLflow autologging."""

import os

import keras
import mlflow
import numpy as np
from keras import layers
from stopwatch import Stopwatch

EPOCHS = 10

mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("mnist-mlp")
mlflow.tensorflow.autolog()

watch = Stopwatch()
with np.load(os.path.join(os.environ["MLCTL_DATA_DIR"], "mnist.npz")) as data:
    x, y = data["x_train"], data["y_train"]
    x_test, y_test = data["x_test"], data["y_test"]
x = x.astype("float32") / 255
x_test = x_test.astype("float32") / 255
x_train, y_train, x_val, y_val = x[:55_000], y[:55_000], x[55_000:], y[55_000:]

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((28, 28)),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(keras.optimizers.Adam(0.001), loss="sparse_categorical_crossentropy", metrics=["accuracy"])

with mlflow.start_run():
    model.fit(
        x_train, y_train, batch_size=128, epochs=EPOCHS, validation_data=(x_val, y_val), verbose=2,
        callbacks=[watch],
    )  # fmt: skip
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    mlflow.log_metrics({"test_loss": loss, "test_accuracy": accuracy})
print({"test_accuracy": accuracy})
