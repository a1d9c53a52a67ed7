"""MLflow's quickstart of keras.autolog: nothing but one line, and no start_run."""

import argparse

import keras
import mlflow
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("-e", "--epochs", type=int, default=20)
parser.add_argument("-b", "--batch_size", type=int, default=32)
parser.add_argument("--hidden", type=int, nargs="+", default=[128, 64])
args = parser.parse_args()

mlflow.tensorflow.autolog()

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.2, random_state=1)

model = keras.Sequential([keras.Input((64,))])
for units in args.hidden:
    model.add(keras.layers.Dense(units, activation="relu"))
model.add(keras.layers.Dense(10))
model.compile(
    optimizer=keras.optimizers.AdamW(3e-3, weight_decay=1e-4),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(
    X_train,
    y_train,
    epochs=args.epochs,
    batch_size=args.batch_size,
    validation_data=(X_test, y_test),
    callbacks=[keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)],
)
predicted = np.argmax(model.predict(X_test), axis=1)
print("accuracy", (predicted == y_test).mean())
print("last run:", mlflow.last_active_run().info.run_id)
