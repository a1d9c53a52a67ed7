"""Usage: train.py ROWS EPOCHS [lr=0.01] [units=32]"""

import os
import sys

if len(sys.argv) < 3:
    sys.exit(__doc__)

rows, epochs = int(sys.argv[1]), int(sys.argv[2])
options = dict(word.split("=", 1) for word in sys.argv[3:])

import numpy as np
from helpers.curve import curve  # beside this file
from tensorflow import keras

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "helpers", "range.txt")) as file:
    low, high = map(float, file.read().split())

np.random.seed(5)
keras.utils.set_random_seed(5)
x = np.random.uniform(low, high, (rows, 1))
y = curve(x) + np.random.normal(0, 0.1, (rows, 1))

model = keras.Sequential(
    [
        keras.layers.Dense(int(options.get("units", 32)), activation="tanh"),
        keras.layers.Dense(int(options.get("units", 32)), activation="tanh"),
        keras.layers.Dense(1),
    ]
)
model.compile(optimizer=keras.optimizers.SGD(float(options.get("lr", 0.01)), momentum=0.9), loss="mse")
for part in range(2):  # the second time with the rest of the epochs
    model.fit(x, y, epochs=epochs // 2 or 1, batch_size=32, verbose=0)
print("loss", model.evaluate(x, y, verbose=0))
model.save_weights("curve.weights.h5")
sys.exit()
