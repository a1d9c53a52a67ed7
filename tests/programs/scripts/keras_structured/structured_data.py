"""Title: Structured data classification with preprocessing layers
"""

import os

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers

rows = int(os.environ.get("ROWS", 3000))
rng = np.random.default_rng(7)
dataframe = pd.DataFrame(
    {
        "age": rng.integers(25, 80, rows),
        "pressure": rng.normal(130, 18, rows).round(),
        "oldpeak": rng.gamma(1.5, 0.7, rows).round(1),
        "vessels": rng.integers(0, 4, rows),
        "thal": rng.choice(["normal", "fixed", "reversible"], rows, p=[0.55, 0.1, 0.35]),
    }
)
risk = (dataframe.age - 54) / 15 + dataframe.oldpeak - 1 + (dataframe.thal == "reversible") + dataframe.vessels / 2
dataframe["target"] = (risk + rng.normal(0, 0.7, rows) > 1.2).astype(int)
print(dataframe.head())

val_dataframe = dataframe.sample(frac=0.2, random_state=1337)
train_dataframe = dataframe.drop(val_dataframe.index)


def dataframe_to_dataset(dataframe):
    dataframe = dataframe.copy()
    labels = dataframe.pop("target")
    features = {name: np.array(column.tolist()) for name, column in dataframe.items()}
    ds = tf.data.Dataset.from_tensor_slices((features, labels.values))
    return ds.shuffle(buffer_size=len(dataframe))


train_ds = dataframe_to_dataset(train_dataframe).batch(32)
val_ds = dataframe_to_dataset(val_dataframe).batch(32)


def encode_numerical_feature(feature, name, dataset):
    normalizer = layers.Normalization()
    feature_ds = dataset.map(lambda x, y: tf.expand_dims(tf.cast(x[name], "float32"), -1))
    normalizer.adapt(feature_ds)
    return normalizer(feature)


def encode_categorical_feature(feature, name, dataset, is_string):
    lookup_class = layers.StringLookup if is_string else layers.IntegerLookup
    lookup = lookup_class(output_mode="multi_hot")
    feature_ds = dataset.map(lambda x, y: tf.expand_dims(x[name], -1))
    lookup.adapt(feature_ds)
    return lookup(feature)


age = keras.Input(shape=(1,), name="age")
pressure = keras.Input(shape=(1,), name="pressure")
oldpeak = keras.Input(shape=(1,), name="oldpeak")
vessels = keras.Input(shape=(1,), name="vessels", dtype="int64")
thal = keras.Input(shape=(1,), name="thal", dtype="string")
all_inputs = {"age": age, "pressure": pressure, "oldpeak": oldpeak, "vessels": vessels, "thal": thal}

all_features = layers.concatenate(
    [
        encode_numerical_feature(age, "age", train_ds),
        encode_numerical_feature(pressure, "pressure", train_ds),
        encode_numerical_feature(oldpeak, "oldpeak", train_ds),
        encode_categorical_feature(vessels, "vessels", train_ds, is_string=False),
        encode_categorical_feature(thal, "thal", train_ds, is_string=True),
    ]
)
x = layers.Dense(32, activation="relu")(all_features)
x = layers.Dropout(0.5)(x)
output = layers.Dense(1, activation="sigmoid")(x)
model = keras.Model(all_inputs, output)
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])

model.fit(train_ds, epochs=int(os.environ.get("EPOCHS", 50)), validation_data=val_ds)

sample = {"age": 60, "pressure": 145.0, "oldpeak": 2.3, "vessels": 0, "thal": "fixed"}
input_dict = {name: tf.convert_to_tensor([[value]]) for name, value in sample.items()}
predictions = model.predict(input_dict)
print(f"This patient had a {100 * predictions[0][0]:.1f} percent probability of a heart disease.")
