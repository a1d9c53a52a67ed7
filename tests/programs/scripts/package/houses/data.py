from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass
class Houses:
    x: np.ndarray
    y: np.ndarray

    def split(self, share):
        cut = int(len(self.x) * share)
        return Houses(self.x[:cut], self.y[:cut]), Houses(self.x[cut:], self.y[cut:])


def read(file, rows=None, seed=0):
    frame = pd.read_csv(file).dropna().sample(frac=1, random_state=seed)[:rows]
    frame = pd.get_dummies(frame, columns=["ocean_proximity"], dtype="float32")
    y = np.log(frame.pop("median_house_value").to_numpy("float32"))
    x = frame.to_numpy("float32")
    return Houses((x - x.mean(0)) / (x.std(0) + 1e-6), y)
