"""A CNN on MNIST as a plain user writes it: `fit` on arrays, MLflow autologging, then the test."""

import os
import sys

import keras
import mlflow
import numpy as np
from keras import layers
from stopwatch import Stopwatch

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 15

mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("mnist")
mlflow.tensorflow.autolog()

watch = Stopwatch()
with np.load(os.path.join(os.environ["MLCTL_DATA_DIR"], "mnist.npz")) as data:
    x, y = data["x_train"], data["y_train"]
    x_test, y_test = data["x_test"], data["y_test"]
x = x.astype("float32")[..., None] / 255
x_test = x_test.astype("float32")[..., None] / 255
x_train, y_train, x_val, y_val = x[:55_000], y[:55_000], x[55_000:], y[55_000:]

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.25),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ]
)
schedule = keras.optimizers.schedules.CosineDecay(1.0, EPOCHS * -(-len(x_train) // 1024))
model.compile(
    keras.optimizers.Adadelta(schedule), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
)

with mlflow.start_run():
    model.fit(
        x_train, y_train, batch_size=1024, epochs=EPOCHS, validation_data=(x_val, y_val), verbose=2,
        callbacks=[watch],
    )  # fmt: skip
    loss, accuracy = model.evaluate(x_test, y_test, batch_size=1024, verbose=0)
    mlflow.log_metrics({"test_loss": loss, "test_accuracy": accuracy})
print({"test_accuracy": accuracy})
