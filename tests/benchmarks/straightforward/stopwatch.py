"""A stopwatch for data and training, from the start of loading to the end of the last epoch.

It excludes model logging, which MLflow's autologging does inside `fit` after the last epoch.
"""

import json
import os
import time

import keras


class Stopwatch(keras.callbacks.Callback):
    """Create it after the imports and pass it to `fit`. It writes to the file that BENCHMARK_TIMES names."""

    def __init__(self):
        super().__init__()
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(time.process_time())

    def on_train_end(self, logs=None):
        figures = {"wall_s": time.perf_counter() - self.wall, "cpu_s": time.process_time() - self.cpu}
        figures["epoch_ends_cpu_s"] = self.epochs
        if path := os.environ.get("BENCHMARK_TIMES"):
            with open(path, "w") as file:
                json.dump(figures, file)
