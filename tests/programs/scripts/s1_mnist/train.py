import os

import mlflow
import mlflow.tensorflow
from mlflow.tracking import MlflowClient
from tensorflow import keras
from tensorflow.keras import layers, models
from tensorflow.keras.datasets import mnist
from tensorflow.keras.utils import to_categorical

BATCH_SIZE = int(os.environ.get("BATCH_SIZE", 1024))
EPOCHS = int(os.environ.get("EPOCHS", 15))
PICTURES = int(os.environ.get("PICTURES", 60000))
NUM_CLASSES = 10
LEARNING_RATE = 0.01

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train, y_train = x_train[:PICTURES], y_train[:PICTURES]
x_test, y_test = x_test[: PICTURES // 6], y_test[: PICTURES // 6]

x_train = x_train.reshape(x_train.shape[0], 28, 28, 1).astype("float32") / 255
x_test = x_test.reshape(x_test.shape[0], 28, 28, 1).astype("float32") / 255
y_train = to_categorical(y_train, NUM_CLASSES)
y_test = to_categorical(y_test, NUM_CLASSES)


def build_model():
    model = models.Sequential()
    model.add(layers.Conv2D(32, kernel_size=(3, 3), activation="relu", input_shape=(28, 28, 1)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(NUM_CLASSES, activation="softmax"))
    return model


def train(learning_rate=1.0):
    model = build_model()
    model.compile(
        optimizer=keras.optimizers.Adadelta(learning_rate=learning_rate),  # was: lr=
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(
        x_train,
        y_train,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        verbose=2,
        validation_data=(x_test, y_test),
    )
    return model


mlflow.tensorflow.autolog()  # was: autolog(every_n_iter=1)

with mlflow.start_run(run_name="mnist-run-2") as run:
    train(LEARNING_RATE)
    model_uri = f"runs:/{run.info.run_id}/model"  # was: mlflow.get_artifact_uri("model")

loaded_model = mlflow.tensorflow.load_model(model_uri)  # was: mlflow.keras.load_model
score = loaded_model.evaluate(x_test, y_test, verbose=0)
print("Test loss:", score[0])
print("Test accuracy:", score[1])

mlflow.register_model(f"runs:/{run.info.run_id}/model", "MNIST-Keras")
MlflowClient().transition_model_version_stage("MNIST-Keras", 1, "Production")
