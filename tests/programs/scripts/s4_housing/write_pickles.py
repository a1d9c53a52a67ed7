"""Write train.pkl and test.pkl, which keras_train.py reads: `python write_pickles.py housing.csv [ROWS]`."""

import sys

import pandas as pd
from sklearn.model_selection import train_test_split

frame = pd.read_csv(sys.argv[1])
if len(sys.argv) > 2:
    frame = frame.sample(int(sys.argv[2]), random_state=0)
frame = pd.get_dummies(frame.dropna(), columns=["ocean_proximity"], dtype=float)
train, test = train_test_split(frame, test_size=0.2, random_state=42)
train.to_pickle("train.pkl")
test.to_pickle("test.pkl")
