import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import mlflow
import mlflow.keras
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

NUM_EPOCHS = int(os.environ.get("NUM_EPOCHS", 10))
IMG_HEIGHT = int(os.environ.get("IMG_SIZE", 180))
IMG_WIDTH = int(os.environ.get("IMG_SIZE", 180))
BATCH_SIZE = 32
DATA_DIR = os.environ.get("PICTURES", "pictures")

mlflow.set_experiment("image-classifier")
mlflow.set_tag("mlflow.runName", "three-conv-layers")

train_ds = keras.utils.image_dataset_from_directory(
    DATA_DIR,
    validation_split=0.2,
    subset="training",
    seed=123,
    image_size=(IMG_HEIGHT, IMG_WIDTH),
    batch_size=BATCH_SIZE,
)
val_ds = keras.utils.image_dataset_from_directory(
    DATA_DIR,
    validation_split=0.2,
    subset="validation",
    seed=123,
    image_size=(IMG_HEIGHT, IMG_WIDTH),
    batch_size=BATCH_SIZE,
)
class_names = train_ds.class_names
print(class_names)

AUTOTUNE = tf.data.AUTOTUNE
train_ds = train_ds.cache().shuffle(1000).prefetch(buffer_size=AUTOTUNE)
val_ds = val_ds.cache().prefetch(buffer_size=AUTOTUNE)

model = keras.Sequential(
    [
        layers.Rescaling(1.0 / 255, input_shape=(IMG_HEIGHT, IMG_WIDTH, 3)),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(len(class_names)),
    ]
)
model.compile(
    optimizer="adam",
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.summary()


class MlflowLogger(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        metrics = {
            "loss": logs["loss"],
            "accuracy": logs["accuracy"],
            "val_loss": logs["val_loss"],
            "val_accuracy": logs["val_accuracy"],
        }
        for name, value in metrics.items():
            mlflow.log_metric(name, value, step=epoch)


history = model.fit(train_ds, validation_data=val_ds, epochs=NUM_EPOCHS, callbacks=[MlflowLogger()])

with mlflow.start_run(nested=True):
    mlflow.log_param("epochs", NUM_EPOCHS)
    mlflow.log_param("img_height", IMG_HEIGHT)
    mlflow.log_param("img_width", IMG_WIDTH)

mlflow.keras.log_model(model, "model")


def plot(name, file):
    figure = plt.figure(figsize=(8, 6))
    plt.plot(history.history[name], label="Training")
    plt.plot(history.history["val_" + name], label="Validation")
    plt.title(name.capitalize())
    plt.legend()
    figure.savefig(file)
    mlflow.log_artifact(file)


plot("accuracy", "accuracy.png")
plot("loss", "loss.png")
