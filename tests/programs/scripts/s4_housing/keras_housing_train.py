import argparse
import os

import joblib
import numpy as np
import pandas as pd
from azureml.core import Run
from sklearn.model_selection import train_test_split
from tensorflow.keras.callbacks import Callback
from tensorflow.keras.layers import Dense
from tensorflow.keras.models import Sequential
from tensorflow.keras.optimizers import Adam

run = Run.get_context()


class LogRunMetrics(Callback):
    def on_epoch_end(self, epoch, log):
        run.log("Loss", log["val_loss"])
        run.log("mae", log["val_mae"])  # was: val_mean_absolute_error


def clean_data(data):
    data = data.dropna()
    data = pd.get_dummies(data, columns=["ocean_proximity"], dtype=float)
    y = data.pop("median_house_value")
    return data, y


def scale(values, minimum, maximum):
    return (values - minimum) / (maximum - minimum)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="housing.csv", help="the table of houses")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--first-layer-neurons", type=int, default=100)
    parser.add_argument("--second-layer-neurons", type=int, default=100)
    args = parser.parse_args()

    X, y = clean_data(pd.read_csv(args.data))
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=42)

    X_min, X_max = X_train.min(), X_train.max()
    X_train, X_test = scale(X_train, X_min, X_max), scale(X_test, X_min, X_max)
    y_min, y_max = y_train.min(), y_train.max()
    y_train, y_test = scale(y_train, y_min, y_max), scale(y_test, y_min, y_max)

    run.log("Batch Size", np.int64(args.batch_size))
    run.log("Learning rate", args.learning_rate)
    run.log("First hidden layer", np.int64(args.first_layer_neurons))
    run.log("Second hidden layer", np.int64(args.second_layer_neurons))

    model = Sequential()
    model.add(Dense(args.first_layer_neurons, activation="relu", input_shape=(X_train.shape[1],)))
    model.add(Dense(args.second_layer_neurons, activation="relu"))
    model.add(Dense(1))
    model.compile(optimizer=Adam(learning_rate=args.learning_rate), loss="mse", metrics=["mae"])

    model.fit(
        X_train,
        y_train,
        batch_size=args.batch_size,
        epochs=int(os.environ.get("EPOCHS", 15)),
        verbose=2,
        validation_data=(X_test, y_test),
        callbacks=[LogRunMetrics()],
    )

    score = model.evaluate(X_test, y_test, verbose=0)
    run.log("Final test loss", score[0])
    print("Test loss:", score[0])
    run.log("Final test mae", score[1])
    print("Test mae:", score[1])

    os.makedirs("./outputs/model", exist_ok=True)
    with open("./outputs/model/model.json", "w") as f:
        f.write(model.to_json())
    model.save_weights("./outputs/model/model.weights.h5")  # was: model.h5
    joblib.dump(model, "./outputs/model/model.joblib")


if __name__ == "__main__":
    main()
