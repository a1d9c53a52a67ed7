import argparse
import os
import sys

import mlflow
import mlflow.keras
import numpy as np
from keras import layers, models, optimizers
from keras.callbacks import Callback
from keras.datasets import imdb
from mlflow.tracking import MlflowClient
from sklearn.metrics import f1_score, precision_score, recall_score

TRACKING_SERVER = os.environ.get("TRACKING_SERVER", "http://<address of your MLflow server>:5000")
REVIEWS = int(os.environ.get("REVIEWS", 50000))
TEST = REVIEWS // 5
WORDS = 30000

if len(sys.argv) < 3:
    print("Usage: python MlFlowModel.py --epoch 10 --batchsize 500 --learningrate 0.01")
    sys.exit(1)

parser = argparse.ArgumentParser(description="Sentiment of film reviews")
parser.add_argument("--epoch", help="number of epochs", default="10")
parser.add_argument("--batchsize", help="batch size", default="500")
parser.add_argument("--learningrate", help="learning rate", default="0.01")
args = parser.parse_args()

epochs = int(args.epoch)
batch_size = int(args.batchsize)
learning_rate = float(args.learningrate)

mlflow.set_tracking_uri(TRACKING_SERVER)
client = MlflowClient()


class Preprocess:
    def __init__(self, dimension):
        self.dimension = dimension

    def vectorize(self, sequences):
        results = np.zeros((len(sequences), self.dimension))
        for i, sequence in enumerate(sequences):
            results[i, sequence] = 1
        return results


class Metrics(Callback):
    def __init__(self, data):
        super().__init__()
        self.data = data  # was: self.validation_data, which Keras set

    def on_train_begin(self, logs=None):
        self.values = {}

    def on_epoch_end(self, epoch, logs=None):
        predicted = np.asarray(self.model.predict(self.data[0])).round()
        target = self.data[1]
        self.values = {
            "f1": f1_score(target, predicted),
            "recall": recall_score(target, predicted),
            "precision": precision_score(target, predicted),
        }

    def getMetrics(self):
        return self.values


(training_data, training_targets), (testing_data, testing_targets) = imdb.load_data(num_words=WORDS)
data = np.concatenate((training_data, testing_data), axis=0)[:REVIEWS]
targets = np.concatenate((training_targets, testing_targets), axis=0)[:REVIEWS]

data = Preprocess(WORDS).vectorize(data)
targets = np.array(targets).astype("float32")

test_x = data[:TEST]
test_y = targets[:TEST]
train_x = data[TEST:]
train_y = targets[TEST:]

model = models.Sequential()
model.add(layers.Dense(50, activation="relu", input_shape=(WORDS,)))
model.add(layers.Dropout(0.3, noise_shape=None, seed=None))
model.add(layers.Dense(50, activation="relu"))
model.add(layers.Dropout(0.2, noise_shape=None, seed=None))
model.add(layers.Dense(50, activation="relu"))
model.add(layers.Dense(1, activation="sigmoid"))
model.summary()

sgd = optimizers.SGD(learning_rate=learning_rate, decay=1e-6, momentum=0.9, nesterov=True)
model.compile(optimizer=sgd, loss="binary_crossentropy", metrics=["accuracy"])

metrics = Metrics((test_x, test_y))

with mlflow.start_run():
    results = model.fit(
        train_x,
        train_y,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=(test_x, test_y),
        callbacks=[metrics],
    )
    accuracy = np.mean(results.history["val_accuracy"])
    print("Test-Accuracy:", accuracy)

    mlflow.log_param("epochs", epochs)
    mlflow.log_param("batch_size", batch_size)
    mlflow.log_param("learning_rate", learning_rate)

    values = metrics.getMetrics()
    mlflow.log_metric("Accuracy", accuracy)
    mlflow.log_metric("Precision", values["recall"])
    mlflow.log_metric("Recall", values["precision"])
    mlflow.log_metric("F1 Score", values["f1"])

    mlflow.keras.log_model(model, "KerasModel")  # was: mlflow.sklearn.log_model
