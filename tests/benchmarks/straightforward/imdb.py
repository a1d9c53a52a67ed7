"""IMDB as a plain user writes it: a dense multi-hot matrix, `fit`, MLflow autologging, then the scores."""

import os

import keras
import mlflow
import numpy as np
from keras import layers
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from stopwatch import Stopwatch

WORDS, EPOCHS = 30_000, 10

mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("imdb")
mlflow.tensorflow.autolog()

watch = Stopwatch()
with np.load(os.path.join(os.environ["MLCTL_DATA_DIR"], "imdb.npz"), allow_pickle=True) as data:
    reviews = np.concatenate([data["x_train"], data["x_test"]])
    labels = np.concatenate([data["y_train"], data["y_test"]]).astype("float32")

inputs = np.zeros((len(reviews), WORDS), dtype="float32")
for row, review in enumerate(reviews):
    inputs[row, [word for word in review if word < WORDS]] = 1.0

order = np.random.default_rng(7).permutation(len(inputs))
train, validation = order[:40_000], order[40_000:]
x_train, y_train, x_val, y_val = inputs[train], labels[train], inputs[validation], labels[validation]
del inputs

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((WORDS,)),
        layers.Dense(50, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(50, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(50, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(keras.optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"])

with mlflow.start_run():
    model.fit(
        x_train, y_train, batch_size=500, epochs=EPOCHS, validation_data=(x_val, y_val), verbose=2,
        callbacks=[watch],
    )  # fmt: skip
    predictions = (model.predict(x_val, batch_size=500, verbose=0)[:, 0] > 0.5).astype(int)
    scores = {
        "accuracy": accuracy_score(y_val, predictions),
        "precision": precision_score(y_val, predictions),
        "recall": recall_score(y_val, predictions),
        "f1": f1_score(y_val, predictions),
    }
    mlflow.log_metrics({f"final_{name}": value for name, value in scores.items()})
print(scores)
