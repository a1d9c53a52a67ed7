"""How the programs here time their data and training alone: from the load to the last epoch's end.

Model logging, which MLflow's autologging does inside `fit` after the last epoch, is not in it.
"""

import json
import os
import time

import keras


class Stopwatch(keras.callbacks.Callback):
    """Start it after the imports and hand it to `fit`; it writes to the file that BENCHMARK_TIMES names."""

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
