import argparse
import os

import numpy as np
import pandas as pd
from azureml.core import Run
from tensorflow.keras.layers import Dense
from tensorflow.keras.models import Sequential

run = Run.get_context()

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, dest="batch_size", default=50, help="mini batch size")
parser.add_argument("--number-epochs", type=int, dest="epochs", default=10, help="number of epochs")
parser.add_argument("--first-layer-neurons", type=int, dest="n_hidden_1", default=100)
parser.add_argument("--second-layer-neurons", type=int, dest="n_hidden_2", default=100)
args = parser.parse_args()

train = pd.read_pickle("train.pkl")
test = pd.read_pickle("test.pkl")


def split(frame):
    y = frame["median_house_value"].values
    X = frame.drop(columns=["median_house_value"]).values
    return X, y


X_train, y_train = split(train)
X_test, y_test = split(test)

run.log("Batch Size", np.int64(args.batch_size))
run.log("Epochs", np.int64(args.epochs))
run.log("First hidden layer", np.int64(args.n_hidden_1))
run.log("Second hidden layer", np.int64(args.n_hidden_2))

model = Sequential()
model.add(Dense(args.n_hidden_1, activation="relu", input_dim=X_train.shape[1], name="hidden1"))
model.add(Dense(args.n_hidden_2, activation="relu", name="hidden2"))
model.add(Dense(1))
model.summary()
model.compile(optimizer="adam", loss="mse", metrics=["mae"])

history = model.fit(
    X_train,
    y_train,
    batch_size=args.batch_size,
    epochs=args.epochs,
    verbose=2,
    validation_data=(X_test, y_test),
)

score = model.evaluate(X_test, y_test, verbose=0)
run.log("Loss", score[0])
print("Test loss:", score[0])
run.log("MAE", score[1])
print("Test MAE:", score[1])

os.makedirs("./outputs/model", exist_ok=True)
model_json = model.to_json()
with open("./outputs/model/model.json", "w") as f:
    f.write(model_json)
model.save_weights("./outputs/model/model.weights.h5")  # was: model.h5
print("model saved in ./outputs/model folder")
