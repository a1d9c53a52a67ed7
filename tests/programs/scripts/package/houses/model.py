import keras

from .layers import Residual


def build(inputs, units, depth):
    start = keras.Input((inputs,), name="house")
    x = keras.layers.Dense(units)(start)
    for _ in range(depth):
        x = Residual(units)(x)
    return keras.Model(start, keras.layers.Dense(1, name="log_value")(x), name="houses")
