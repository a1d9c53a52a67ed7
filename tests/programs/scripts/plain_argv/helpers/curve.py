import numpy as np


def curve(x):
    return np.sin(3 * x) + 0.3 * x
