"""The minimal cost of digits: the same imports and the same model, saved, without tracking."""

import keras
import matplotlib.figure  # noqa: F401 - imported for its cost: mlctl draws plots with it
import mlflow  # noqa: F401 - imported for its cost: mlctl tracks with it
import onnxruntime  # noqa: F401 - imported for its cost: mlctl checks the export with it
import tensorflow as tf  # noqa: F401 - imported for its cost
from keras import layers
from sklearn.datasets import load_digits
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split
from stopwatch import Stopwatch

EPOCHS, BATCH = 30, 64

watch = Stopwatch()
digits = load_digits()
x = (digits.images / 16).astype("float32")[..., None]
x_rest, x_test, y_rest, y_test = train_test_split(
    x, digits.target, test_size=0.2, stratify=digits.target, random_state=7
)
x_train, x_val, y_train, y_val = train_test_split(
    x_rest, y_rest, test_size=0.2, stratify=y_rest, random_state=7
)

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.3),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(10, activation="softmax"),
    ]
)
schedule = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * -(-len(x_train) // BATCH))
model.compile(keras.optimizers.Adam(schedule), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(
    x_train, y_train, batch_size=BATCH, epochs=EPOCHS, validation_data=(x_val, y_val), verbose=2,
    callbacks=[watch],
)  # fmt: skip
model.save("digits.keras")
print(classification_report(y_test, model.predict(x_test, verbose=0).argmax(axis=1)))
