"""MLflow's Keras guide: a callback, a signature, and the model loaded back."""

import os

import keras
import mlflow
import numpy as np
from keras import layers
from mlflow.models import infer_signature

PICTURES = int(os.environ.get("PICTURES", 60000))
EPOCHS = int(os.environ.get("EPOCHS", 3))


def load():
    (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    x_train = np.expand_dims(x_train, axis=3)[:PICTURES].astype("float32") / 255
    x_test = np.expand_dims(x_test, axis=3)[: PICTURES // 6].astype("float32") / 255
    return x_train, y_train[:PICTURES], x_test, y_test[: PICTURES // 6]


def initialize_model():
    return keras.Sequential(
        [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )


x_train, y_train, x_test, y_test = load()
model = initialize_model()
model.compile(
    loss=keras.losses.SparseCategoricalCrossentropy(),
    optimizer=keras.optimizers.Adam(),
    metrics=["accuracy"],
)

mlflow.set_experiment("keras-guide")
params = {"epochs": EPOCHS, "batch_size": 64, "optimizer": "adam", "kernel_size": 3}

with mlflow.start_run() as run:
    mlflow.log_params(params)
    model.fit(
        x_train,
        y_train,
        batch_size=params["batch_size"],
        epochs=params["epochs"],
        validation_split=0.1,
        callbacks=[mlflow.keras.MlflowCallback(run)],
    )
    loss, accuracy = model.evaluate(x_test, y_test)
    mlflow.log_metrics({"test_loss": loss, "test_accuracy": accuracy})
    signature = infer_signature(x_test, model.predict(x_test))
    model_info = mlflow.keras.log_model(model, name="model", signature=signature)

loaded = mlflow.pyfunc.load_model(model_info.model_uri)
predictions = loaded.predict(x_test[:10])
print("predicted:", np.argmax(predictions, axis=1), "wanted:", y_test[:10])
